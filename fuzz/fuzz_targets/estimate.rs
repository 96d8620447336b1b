#![no_main]

use tollgate_fuzz::{seed, texts};

libfuzzer_sys::fuzz_target!(init: { seed(texts::samples) }, |data: &[u8]| texts::estimate(data));
