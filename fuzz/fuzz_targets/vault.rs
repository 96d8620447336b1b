#![no_main]

use tollgate_fuzz::{seed, texts};

libfuzzer_sys::fuzz_target!(init: { seed(texts::references) }, |data: &[u8]| texts::vault(data));
