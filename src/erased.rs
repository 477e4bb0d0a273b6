//! Ports behind a pointer, so that a type which uses a port needs no type parameter for it.

use std::{future::Future, pin::Pin};

/// A boxed future.
pub(crate) type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Declares the twin of a port, for `Arc<dyn …>`, and implements it for every type with the port.
///
/// The methods of a port return futures without a name, so the port cannot be a trait object. The
/// methods of its twin box them. A twin repeats every method that the crate calls, default methods
/// as well: otherwise an implementation that overrides one would not be called. References in
/// arguments have the lifetime `'a`.
macro_rules! erased {
    (
        $(#[$attribute:meta])*
        $view:vis trait $twin:ident: $port:ident {
            $(async fn $name:ident(&self $(, $argument:ident: $type:ty)* $(,)?) $(-> $output:ty)?;)*
            $(fn $plain:ident(&self) -> $value:ty;)*
        }
    ) => {
        $(#[$attribute])*
        $view trait $twin: Send + Sync + 'static {
            $(fn $name<'a>(
                &'a self $(, $argument: $type)*
            ) -> $crate::erased::Boxed<'a, $crate::erased::erased!(@ $($output)?)>;)*
            $(fn $plain(&self) -> $value;)*
        }

        impl<T: $port> $twin for T {
            $(fn $name<'a>(
                &'a self $(, $argument: $type)*
            ) -> $crate::erased::Boxed<'a, $crate::erased::erased!(@ $($output)?)> {
                Box::pin($port::$name(self $(, $argument)*))
            })*
            $(fn $plain(&self) -> $value {
                $port::$plain(self)
            })*
        }
    };
    (@) => { () };
    (@ $output:ty) => { $output };
}

pub(crate) use erased;
