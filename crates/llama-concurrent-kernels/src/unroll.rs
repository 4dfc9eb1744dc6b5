//! Loops unrolled in the source: an array is kept in registers only if every index is known, and LLVM does not unroll
//! loops of the size of a kernel.

/// `unroll!(i in 2|4|8 { ... })` repeats the block with `i` = 0, 1, 2 and so on.
macro_rules! unroll {
    ($i:ident in 2 $body:block) => {
        $crate::unroll::unroll!(@ $i $body 0 1)
    };
    ($i:ident in 4 $body:block) => {
        $crate::unroll::unroll!(@ $i $body 0 1 2 3)
    };
    ($i:ident in 8 $body:block) => {
        $crate::unroll::unroll!(@ $i $body 0 1 2 3 4 5 6 7)
    };
    (@ $i:ident $body:block $($n:literal)*) => {
        $({
            let $i: usize = $n;
            $body
        })*
    };
}

pub(crate) use unroll;
