#![no_main]

use tollgate_fuzz::{seed, texts};

libfuzzer_sys::fuzz_target!(init: { seed(texts::templates) }, |data: &[u8]| texts::template(data));
