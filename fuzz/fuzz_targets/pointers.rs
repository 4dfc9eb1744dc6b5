//! The C library, called from C (`pointers.c`) as far as its header allows, and with what only a wrong program passes that a
//! library can see: NULL, handles that never were, sizes of other versions, texts that are no UTF-8, numbers out of range.

#![no_main]

use std::panic;

use capi as _;
use libfuzzer_sys::fuzz_target;

unsafe extern "C" {
    fn call_with(data: *const u8, size: usize);
}

fuzz_target!(
    // The fuzzer's hook ends the process at each panic, also at those of libraries, which become errors.
    init: panic::set_hook(Box::new(|panic| eprintln!("{panic}"))),
    |data: &[u8]| {
        // SAFETY: it reads `size` bytes, and nothing after its return.
        unsafe { call_with(data.as_ptr(), data.len()) }
    }
);
