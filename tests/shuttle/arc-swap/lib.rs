//! arc-swap as far as the crate uses it, with a lock that shuttle schedules.
//!
//! Every load, store and exchange is one step that others may come before and after; an `rcu` is a
//! load and an exchange, tried again where somebody came in between, as in the real one.

use std::{ops::Deref, sync::Arc};

use shuttle::sync::Mutex;

pub struct ArcSwap<T>(Mutex<Arc<T>>);

/// Of an `Arc`, as in the real one.
pub struct Guard<T>(T);

impl<T> ArcSwap<T> {
    pub fn from_pointee(value: T) -> Self {
        Self(Mutex::new(Arc::new(value)))
    }

    pub fn load(&self) -> Guard<Arc<T>> {
        Guard(Arc::clone(&self.0.lock().unwrap()))
    }

    pub fn store(&self, value: Arc<T>) {
        *self.0.lock().unwrap() = value;
    }

    pub fn rcu<F: FnMut(&Arc<T>) -> T>(&self, mut change: F) -> Arc<T> {
        loop {
            let before = self.load().0;
            let after = Arc::new(change(&before));
            let mut current = self.0.lock().unwrap();
            if Arc::ptr_eq(&current, &before) {
                *current = after;
                return before;
            }
        }
    }
}

impl<T> Deref for Guard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
