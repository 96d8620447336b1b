#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(dialect::request_seeds) }, |data: &[u8]| dialect::request(data));
