//! A decision about a request that goes to no tower service.

use std::{future::poll_fn, pin::pin};

use bytes::Bytes;
use http::Response;

use super::{Middleware, Verdict, wait::Bounded};
use crate::layer::{extract::RequestHead, response::Refuse};

/// Returns what [`Middleware::admit`] needs for a request that passes, or the response to a request
/// that does not pass.
///
/// # Cancel safety
///
/// Dropping the future is safe. A fetch that it waits for continues for other requests.
pub(crate) async fn decide<L: Middleware>(
    layer: &L,
    head: RequestHead<'_>,
) -> Result<L::Pass, Box<Response<Bytes>>> {
    let mut verdict = layer.decide(head);
    if let Verdict::Wait(wait, mut refusal) = verdict {
        let mut waits = pin!(Bounded::new(wait, layer.patience()));
        verdict = loop {
            let woke = poll_fn(|cx| waits.as_mut().poll(cx, L::NAME)).await;
            let Some(woke) = woke else {
                break Verdict::Refuse(refusal);
            };
            match layer.resume(woke, head) {
                Verdict::Wait(wait, next) => {
                    refusal = next;
                    waits.as_mut().continue_with(wait);
                }
                verdict => break verdict,
            }
        };
    }
    match verdict {
        Verdict::Pass(pass) => Ok(pass),
        Verdict::Answer(response) => Err(response),
        Verdict::Refuse(error) | Verdict::Wait(_, error) => {
            Err(Box::new(layer.refusals().refuse(error, head)))
        }
    }
}
