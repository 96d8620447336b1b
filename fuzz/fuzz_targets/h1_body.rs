#![no_main]

use tollgate_fuzz::{h1, seed};

libfuzzer_sys::fuzz_target!(init: { seed(h1::bodies) }, |data: &[u8]| h1::body(data));
