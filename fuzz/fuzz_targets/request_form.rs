#![no_main]

use tollgate_fuzz::{forms, seed};

libfuzzer_sys::fuzz_target!(init: { seed(forms::request_seeds) }, |data: &[u8]| forms::request(data));
