#![no_main]

use tollgate_fuzz::{seed, split};

libfuzzer_sys::fuzz_target!(init: { seed(split::message_seeds) }, |data: &[u8]| split::event_stream(data));
