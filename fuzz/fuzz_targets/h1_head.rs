#![no_main]

use tollgate_fuzz::{h1, seed};

libfuzzer_sys::fuzz_target!(init: { seed(h1::heads) }, |data: &[u8]| h1::head(data));
