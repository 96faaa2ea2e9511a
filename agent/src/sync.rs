//! Locking a mutex whose holder may have panicked: every critical section here leaves its data whole.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The data, whether or not an earlier holder panicked.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
