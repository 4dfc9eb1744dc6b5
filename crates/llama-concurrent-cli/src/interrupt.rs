//! Handling of Ctrl-C: an event while an [`Interrupt`] exists, and the end of the program otherwise.

use std::sync::{
    Once,
    atomic::{AtomicBool, Ordering},
};

static LISTENING: AtomicBool = AtomicBool::new(false);
static PRESSED: AtomicBool = AtomicBool::new(false);

/// While this exists, the first Ctrl-C is only recorded. A second one ends the program.
pub struct Interrupts(());

impl Interrupts {
    pub fn listen() -> Self {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(|| {
            // If no handler can be installed, Ctrl-C ends the program as usual.
            let _ = ctrlc::set_handler(|| {
                if !LISTENING.load(Ordering::SeqCst) || PRESSED.swap(true, Ordering::SeqCst) {
                    std::process::exit(130);
                }
            });
        });
        PRESSED.store(false, Ordering::SeqCst);
        LISTENING.store(true, Ordering::SeqCst);
        Self(())
    }

    pub fn pressed(&self) -> bool {
        PRESSED.load(Ordering::SeqCst)
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        LISTENING.store(false, Ordering::SeqCst);
    }
}
