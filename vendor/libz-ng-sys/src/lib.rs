//! Stands in for the `libz-ng-sys` that pingora asks flate2 to use.
//!
//! The original builds zlib-ng with cmake, which a fresh machine with Rust, gcc and make does not
//! have. zlib-rs offers the same C interface in Rust, at the same speed, with nothing to install.
//! The two differ in one thing: zlib-rs's allocator callbacks are `Option`s. `Option<fn>` is laid
//! out as `fn`, so a stream of ours is a stream of theirs, and each call below only casts.
#![allow(non_camel_case_types, non_snake_case, clippy::missing_safety_doc)]

use core::ffi::{c_char, c_int, c_uint, c_ulong};
use libz_rs_sys as rs;

pub use rs::{
    alloc_func, free_func, internal_state, uInt, uLong, voidpf, Bytef,
    Z_BEST_COMPRESSION, Z_BEST_SPEED, Z_BLOCK, Z_BUF_ERROR, Z_DATA_ERROR, Z_DEFAULT_COMPRESSION,
    Z_DEFAULT_STRATEGY, Z_DEFLATED, Z_ERRNO, Z_FINISH, Z_FULL_FLUSH, Z_MEM_ERROR, Z_NEED_DICT,
    Z_NO_FLUSH, Z_OK, Z_PARTIAL_FLUSH, Z_STREAM_END, Z_STREAM_ERROR, Z_SYNC_FLUSH,
    Z_VERSION_ERROR, zlibVersion,
};

pub type z_size = c_ulong;
pub type z_checksum = c_ulong;

/// One deflate or inflate stream, with zlib-ng's field types.
#[repr(C)]
pub struct z_stream {
    pub next_in: *mut Bytef,
    pub avail_in: uInt,
    pub total_in: z_size,
    pub next_out: *mut Bytef,
    pub avail_out: uInt,
    pub total_out: z_size,
    pub msg: *mut c_char,
    pub state: *mut internal_state,
    pub zalloc: alloc_func,
    pub zfree: free_func,
    pub opaque: voidpf,
    pub data_type: c_int,
    pub adler: z_checksum,
    pub reserved: uLong,
}

pub type z_streamp = *mut z_stream;

const _: () = assert!(core::mem::size_of::<z_stream>() == core::mem::size_of::<rs::z_stream>());

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*);)*) => {$(
        pub unsafe extern "C" fn $name(strm: z_streamp, $($arg: $type),*) -> c_int {
            rs::$name(strm.cast(), $($arg),*)
        }
    )*};
}

forward! {
    deflate(flush: c_int);
    deflateEnd();
    deflateReset();
    deflateParams(level: c_int, strategy: c_int);
    deflateSetDictionary(dictionary: *const Bytef, length: c_uint);
    deflateInit2_(level: c_int, method: c_int, window_bits: c_int, mem_level: c_int, strategy: c_int, version: *const c_char, size: c_int);
    inflate(flush: c_int);
    inflateEnd();
    inflateReset();
    inflateReset2(window_bits: c_int);
    inflateSetDictionary(dictionary: *const Bytef, length: c_uint);
    inflateInit2_(window_bits: c_int, version: *const c_char, size: c_int);
}
