#![no_main]

use tollgate_fuzz::{dialect, seed};

libfuzzer_sys::fuzz_target!(init: { seed(dialect::native_seeds) }, |data: &[u8]| dialect::native(data));
