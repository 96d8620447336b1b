#![no_main]

use tollgate_fuzz::{seed, split};

libfuzzer_sys::fuzz_target!(init: { seed(split::text_seeds) }, |data: &[u8]| split::json_array(data));
