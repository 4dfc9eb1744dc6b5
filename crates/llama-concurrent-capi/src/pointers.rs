//! Reading arguments from C, and writing results to it.

use std::{
    ffi::{CStr, c_char},
    mem::{MaybeUninit, size_of},
};

use crate::types::{Failure, Result};

/// No version of any struct is larger; a greater size was never initialised.
const MAX_STRUCT: usize = 1 << 12;

/// A struct whose first field is its size in the version that the caller was compiled with.
///
/// # Safety
/// `#[repr(C)]`, starts with a `usize`, and any bytes are a value of it: numbers, raw pointers, optional functions.
pub unsafe trait Versioned: Copy {
    /// How to initialise it, for error messages.
    const INITIALIZER: &'static str;
}

/// Asserts that a struct ends with its last field: tail padding would be mistaken for the first field of a later version.
#[macro_export]
macro_rules! assert_no_tail_padding {
    ($type:ty, $last:ident: $last_type:ty) => {
        const _: () = assert!(
            cfg!(not(target_pointer_width = "64"))
                || std::mem::offset_of!($type, $last) + size_of::<$last_type>() == size_of::<$type>()
        );
    };
}

fn null(name: &str) -> Failure {
    Failure::argument(format!("{name} is NULL"))
}

fn check_size(size: usize, name: &str, initializer: &str) -> Result<()> {
    if (size_of::<usize>()..=MAX_STRUCT).contains(&size) {
        return Ok(());
    }
    Err(Failure::argument(format!(
        "{name}->size is {size}, which is not the size of any version of the struct; {initializer}"
    )))
}

/// Reads the caller's struct over `defaults`: of an older version the fields that it has, of a newer one those known here.
///
/// # Safety
/// `pointer` is NULL or points to a struct readable for the number of bytes in its first field.
pub unsafe fn read_sized<T: Versioned>(pointer: *const T, defaults: T, name: &str) -> Result<T> {
    if pointer.is_null() {
        return Ok(defaults);
    }
    // SAFETY: the caller's promise; every such struct starts with its size. Unaligned, as nothing says it is aligned.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    check_size(size, name, T::INITIALIZER)?;
    let known = size_of::<T>();
    let bytes = pointer.cast::<u8>();
    for offset in known..size {
        // SAFETY: within the size that the struct says.
        if unsafe { bytes.add(offset).read() } != 0 {
            return Err(Failure::argument(format!(
                "{name} uses a field that this version of the library does not have (at byte {offset} of {size}); update \
                 the library or leave the field at 0"
            )));
        }
    }
    let mut value = MaybeUninit::new(defaults);
    // SAFETY: both sides are valid for the smaller of the two sizes, and any bytes are a `T`.
    unsafe {
        std::ptr::copy_nonoverlapping(bytes, value.as_mut_ptr().cast::<u8>(), size.min(known));
        Ok(value.assume_init())
    }
}

/// Fills the caller's struct up to the size that it states. Fields of later versions become 0.
///
/// # Safety
/// `pointer` is NULL or points to a struct writable for the number of bytes in its first field.
pub unsafe fn write_sized<T: Versioned>(pointer: *mut T, value: T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's promise.
    let size = unsafe { pointer.cast::<usize>().read_unaligned() };
    // SAFETY: as above.
    unsafe { write_of_size(pointer, size, value, name) }
}

/// Like [`write_sized`], with the size as an argument.
///
/// # Safety
/// `pointer` is NULL or is writable for `size` bytes.
pub unsafe fn write_of_size<T: Versioned>(pointer: *mut T, size: usize, value: T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    check_size(size, name, T::INITIALIZER)?;
    let known = size.min(size_of::<T>());
    let bytes = pointer.cast::<u8>();
    // SAFETY: the destination is writable for `size` bytes, of which `known` come from `value` and the rest are zeroed;
    // the size itself goes first.
    unsafe {
        std::ptr::copy_nonoverlapping((&raw const value).cast::<u8>(), bytes, known);
        std::ptr::write_bytes(bytes.add(known), 0, size - known);
        pointer.cast::<usize>().write_unaligned(size);
    }
    Ok(())
}

/// A required string.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated string that lives, unchanged, as long as the result is used.
pub unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { CStr::from_ptr(pointer) };
    bytes.to_str().map_err(|error| {
        Failure::argument(format!("{name} is not UTF-8: byte {} is not part of a character", error.valid_up_to()))
    })
}

/// A string that may be NULL.
///
/// # Safety
/// As [`text`].
pub unsafe fn optional_text<'a>(pointer: *const c_char, name: &str) -> Result<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    unsafe { text(pointer, name) }.map(Some)
}

/// An array. It may be NULL if `n` is 0.
///
/// # Safety
/// `pointer` is NULL or points to `n` readable elements that live, unchanged, as long as the result is used.
pub unsafe fn slice<'a, T>(pointer: *const T, n: usize, name: &str) -> Result<&'a [T]> {
    if n == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(Failure::argument(format!("{name} is NULL, but its length is given as {n}")));
    }
    if n > isize::MAX as usize / size_of::<T>() {
        return Err(Failure::argument(format!("{n} elements of {name} are more than memory can hold")));
    }
    // SAFETY: the caller's promise, and the length is possible.
    Ok(unsafe { std::slice::from_raw_parts(pointer, n) })
}

/// An array of strings.
///
/// # Safety
/// As [`slice`], and as [`text`] for each element.
pub unsafe fn texts<'a>(pointer: *const *const c_char, n: usize, name: &str) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise.
    let pointers = unsafe { slice(pointer, n, name) }?;
    let each = pointers.iter().enumerate();
    // SAFETY: the caller's promise.
    each.map(|(i, &pointer)| unsafe { text(pointer, &format!("{name}[{i}]")) }).collect()
}

/// Writes a result whose pointer must not be NULL.
///
/// # Safety
/// `pointer` is NULL or writable.
pub unsafe fn write<T>(pointer: *mut T, value: T, name: &str) -> Result<()> {
    if pointer.is_null() {
        return Err(null(name));
    }
    // SAFETY: the caller's promise.
    unsafe { pointer.write(value) };
    Ok(())
}

/// Checks an output pointer before any work is done.
pub fn required<T>(pointer: *mut T, name: &str) -> Result<()> {
    if pointer.is_null() { Err(null(name)) } else { Ok(()) }
}

/// Copies elements into the caller's buffer. `needed` gets the required capacity, even if the buffer is too small.
///
/// # Safety
/// `buffer` is NULL or writable for `capacity` elements; `needed` is NULL or writable.
pub unsafe fn fill<T: Copy>(
    elements: &[T],
    buffer: *mut T,
    capacity: usize,
    needed: *mut usize,
    name: &str,
) -> Result<()> {
    if !needed.is_null() {
        // SAFETY: the caller's promise.
        unsafe { needed.write(elements.len()) };
    }
    if elements.len() > capacity {
        return Err(Failure::new(
            crate::status::llama_infer_status::BufferTooSmall,
            format!("the capacity of {name} is {capacity}, but {} are needed", elements.len()),
        ));
    }
    if buffer.is_null() && !elements.is_empty() {
        return Err(null(name));
    }
    if !elements.is_empty() {
        // SAFETY: the buffer is not NULL and has room for `capacity`, which is enough; it cannot overlap our own memory.
        unsafe { std::ptr::copy_nonoverlapping(elements.as_ptr(), buffer, elements.len()) };
    }
    Ok(())
}

/// Copies a string and its NUL into the caller's buffer. `length` gets the length without the NUL, even if the buffer is
/// too small.
///
/// # Safety
/// `buffer` is NULL or writable for `capacity` bytes; `length` is NULL or writable.
pub unsafe fn fill_text(
    text: &str,
    buffer: *mut c_char,
    capacity: usize,
    length: *mut usize,
    name: &str,
) -> Result<()> {
    let text = crate::types::c_text(text);
    // SAFETY: the caller's promise; `c_char` and `u8` have one layout.
    let done = unsafe { fill(text.as_bytes_with_nul(), buffer.cast::<u8>(), capacity, length, name) };
    if !length.is_null() {
        // SAFETY: the caller's promise.
        unsafe { length.write(text.as_bytes().len()) };
    }
    done
}
