#![no_main]

use tollgate_fuzz::{client_stream, seed};

libfuzzer_sys::fuzz_target!(init: { seed(client_stream::seeds) }, |data: &[u8]| client_stream::run(data));
