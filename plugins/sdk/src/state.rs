//! What a check remembers from one attempt to the next, per (pipeline, target, check). The host
//! keeps it only after a clean return, for the attempt that is final.
//!
//! On native targets the memory is the current thread's; a test empties it with `forget`.

#[cfg(target_arch = "wasm32")]
pub use crate::guest::{delete, get, set};

#[cfg(not(target_arch = "wasm32"))]
pub use remembered::{delete, forget, get, set};

#[cfg(not(target_arch = "wasm32"))]
mod remembered {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    thread_local! {
        static REMEMBERED: RefCell<BTreeMap<String, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
    }

    /// The value last kept under this key.
    pub fn get(key: &str) -> Option<Vec<u8>> {
        REMEMBERED.with_borrow(|all| all.get(key).cloned())
    }

    /// Remember a value. The host refuses it when the quota is used up; native tests have no quota.
    pub fn set(key: &str, value: &[u8]) -> Result<(), String> {
        REMEMBERED.with_borrow_mut(|all| all.insert(key.to_owned(), value.to_owned()));
        Ok(())
    }

    /// Forget a value.
    pub fn delete(key: &str) {
        REMEMBERED.with_borrow_mut(|all| all.remove(key));
    }

    /// Forget everything on this thread.
    pub fn forget() {
        REMEMBERED.take();
    }
}
