#![no_main]

use tollgate_fuzz::{doc, seed};

libfuzzer_sys::fuzz_target!(init: { seed(doc::seeds) }, |data: &[u8]| doc::run(data));
