use std::{
    convert::Infallible,
    future::{Ready, pending, poll_fn, ready},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use http::{HeaderName, StatusCode, header::CACHE_CONTROL};
use http_body_util::BodyExt;
use tokio::{task::yield_now, time::Instant};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{suspended::Waited, wait::Bounded, *};
use crate::{error::AuthErrorKind, layer::response::InnerAnswers};

/// The end of a request after its waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Pass,
    Answer,
    Refuse,
    /// The last wait never ends.
    Hang,
    /// Every wait is followed by another one.
    Again,
    Panic,
}

/// A layer that waits several times, as DPoP with introspection would.
#[derive(Clone)]
struct Toy {
    waits: usize,
    end: End,
    limit: Duration,
    refusals: InnerAnswers,
    resumed: Arc<AtomicUsize>,
}

type Turn = Pin<Box<dyn Future<Output = usize> + Send>>;

impl Wait for Turn {
    fn ends_at(&self) -> Option<Instant> {
        None
    }
}

impl Toy {
    fn new(waits: usize, end: End) -> Self {
        Self {
            waits,
            end,
            limit: PATIENCE,
            refusals: InnerAnswers::default(),
            resumed: Arc::default(),
        }
    }

    fn verdict(&self, done: usize) -> Verdict<usize, Turn> {
        let (end, waits) = (self.end, self.waits);
        let is_last = done + 1 == waits;
        if done < waits || end == End::Again {
            let turn = async move {
                yield_now().await;
                match end {
                    End::Hang if is_last => pending().await,
                    End::Panic if is_last => panic!("on purpose"),
                    _ => done + 1,
                }
            };
            let refusal = AuthError::unavailable(AuthErrorKind::CheckUnavailable, 7);
            return Verdict::Wait(Box::pin(turn), refusal);
        }
        match end {
            End::Answer => {
                let mut response = Response::new(Bytes::from_static(b"moved"));
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                Verdict::Answer(Box::new(response))
            }
            End::Refuse => Verdict::Refuse(AuthErrorKind::Forbidden.into()),
            _ => Verdict::Pass(done),
        }
    }
}

impl Middleware for Toy {
    type Wait = Turn;
    type Pass = usize;
    type After = After;
    type Refusals = InnerAnswers;

    const NAME: &'static str = "toy";

    fn prepare<B>(&self, request: &mut Request<B>) {
        request.headers_mut().remove("x-waits");
    }

    fn decide(&self, head: RequestHead<'_>) -> Verdict<usize, Turn> {
        assert!(!head.headers().contains_key("x-waits"));
        self.verdict(0)
    }

    fn resume(&self, done: usize, head: RequestHead<'_>) -> Verdict<usize, Turn> {
        assert!(!head.headers().contains_key("x-waits"));
        self.resumed.fetch_add(1, Ordering::SeqCst);
        self.verdict(done)
    }

    fn admit<B>(&self, request: &mut Request<B>, done: usize) -> After {
        request.headers_mut().insert("x-waits", done.into());
        After {
            is_private: true,
            change: Some(Box::new(Change::Set(
                &NONCE,
                HeaderValue::from_static("fresh"),
            ))),
        }
    }

    fn refusals(&self) -> &InnerAnswers {
        &self.refusals
    }

    fn patience(&self) -> Duration {
        self.limit
    }
}

static NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

#[derive(Clone)]
struct ToyService<S>(Guarded<S, Toy>);

impl<S> Layer<S> for Toy {
    type Service = ToyService<S>;

    fn layer(&self, inner: S) -> ToyService<S> {
        ToyService(Guarded::new(inner, self.clone()))
    }
}

impl<S, B, T> Service<Request<B>> for ToyService<S>
where
    S: Service<Request<B>, Response = Response<T>> + Clone,
{
    type Response = Response<ResponseBody<T>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, Suspended<Toy, S, B>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        self.0.call_or_wait(request)
    }
}

/// Returns the response, and the number of waits that the inner service saw.
async fn ask(toy: &Toy) -> (Response<Bytes>, Option<usize>) {
    let seen_by_inner = Arc::new(AtomicUsize::new(usize::MAX));
    let seen = Arc::clone(&seen_by_inner);
    let inner = service_fn(move |request: Request<()>| {
        let waits = request.headers()["x-waits"].to_str().unwrap().parse();
        seen.store(waits.unwrap(), Ordering::SeqCst);
        let mut response = Response::new(String::from("inner"));
        let public = HeaderValue::from_static("public, max-age=60");
        response.headers_mut().insert(CACHE_CONTROL, public);
        ready(Ok::<_, Infallible>(response))
    });
    let mut request = Request::new(());
    request.headers_mut().insert("x-waits", 99.into());
    let Ok(response) = toy.layer(inner).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let seen_by_inner = seen_by_inner.load(Ordering::SeqCst);
    let seen_by_inner = (seen_by_inner != usize::MAX).then_some(seen_by_inner);
    (Response::from_parts(parts, bytes), seen_by_inner)
}

#[tokio::test]
async fn a_request_may_wait_several_times_and_its_response_is_changed_once() {
    for waits in [0, 1, 2, 5] {
        let toy = Toy::new(waits, End::Pass);
        let (response, seen_by_inner) = ask(&toy).await;
        assert_eq!(seen_by_inner, Some(waits));
        assert_eq!(toy.resumed.load(Ordering::SeqCst), waits);
        assert_eq!(response.body(), "inner");
        assert_eq!(response.headers()["dpop-nonce"], "fresh");
        assert_eq!(response.headers()[CACHE_CONTROL], "private, max-age=60");
    }
}

#[tokio::test]
async fn an_answer_and_a_refusal_may_follow_any_wait_and_are_not_changed() {
    for waits in [0, 1, 3] {
        for (end, status) in [
            (End::Answer, StatusCode::PERMANENT_REDIRECT),
            (End::Refuse, StatusCode::FORBIDDEN),
        ] {
            let (response, seen_by_inner) = ask(&Toy::new(waits, end)).await;
            assert_eq!(response.status(), status);
            assert_eq!(seen_by_inner, None);
            assert!(!response.headers().contains_key("dpop-nonce"));
        }
    }
}

#[tokio::test]
async fn all_waits_of_a_request_have_one_deadline() {
    // No wait of these takes longer than the deadline, but there is always another one.
    for end in [End::Hang, End::Again] {
        let toy = Toy {
            limit: Duration::from_millis(20),
            ..Toy::new(2, end)
        };
        let (response, seen_by_inner) = ask(&toy).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(response.headers()["retry-after"], "7");
        assert_eq!(seen_by_inner, None);
        assert!(toy.resumed.load(Ordering::SeqCst) > 0);
    }
}

#[test]
fn the_waits_of_all_layers_share_one_deadline() {
    let ms = Duration::from_millis;
    let none = Waited::default();
    assert_eq!(none.left(ms(2000)), ms(2000));

    // A layer with 2 s waited for 300 ms.
    let one = none.and((ms(300), none.left(ms(2000))));
    assert_eq!(one.left(ms(2000)), ms(1700));
    assert_eq!(one.left(ms(500)), ms(1700));
    assert_eq!(one.left(ms(5000)), ms(4700));

    // The next one has 5 s, and took all that was left.
    let two = one.and((ms(4700), one.left(ms(5000))));
    assert_eq!(two.left(ms(2000)), ms(0));
    assert_eq!(two.left(ms(9000)), ms(4000));
}

#[tokio::test]
async fn a_request_carries_the_time_that_it_waited() {
    for (outer, inner) in [(0, 0), (0, 2), (2, 0), (2, 2)] {
        let seen = Arc::new(std::sync::Mutex::new(None));
        let note = Arc::clone(&seen);
        let handler = service_fn(move |request: Request<()>| {
            let waited = request.extensions().get::<Waited>().copied();
            *note.lock().unwrap() = waited;
            ready(Ok::<_, Infallible>(Response::new(String::new())))
        });
        let limits = |waits, limit| Toy {
            limit: Duration::from_secs(limit),
            ..Toy::new(waits, End::Pass)
        };
        let service = limits(outer, 3600).layer(limits(inner, 60).layer(handler));
        let Ok(_) = service.oneshot(Request::new(())).await;
        let waited = *seen.lock().unwrap();
        assert_eq!(waited.is_some(), outer + inner > 0);
        let limit = waited.map(|waited| waited.limit.as_secs());
        let expected = match (outer, inner) {
            (0, 0) => None,
            (0, _) => Some(60),
            _ => Some(3600),
        };
        assert_eq!(limit, expected);
    }
}

#[tokio::test]
async fn a_panic_in_any_wait_is_the_refusal_of_that_wait() {
    for waits in [1, 2, 3] {
        let toy = Toy::new(waits, End::Panic);
        let (response, seen_by_inner) = ask(&toy).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(seen_by_inner, None);
        assert_eq!(toy.resumed.load(Ordering::SeqCst), waits - 1);
    }
}

/// A wait that never ends, or ends by itself at this time.
struct Forever(Option<Instant>);

impl Future for Forever {
    type Output = usize;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<usize> {
        Poll::Pending
    }
}

impl Wait for Forever {
    fn ends_at(&self) -> Option<Instant> {
        self.0
    }
}

#[tokio::test]
async fn a_wait_that_was_configured_to_take_longer_extends_the_time_of_its_request() {
    let hour = Instant::now() + Duration::from_secs(3600);
    let once = |waits: Pin<&mut Bounded<Forever>>| {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        waits.poll(&mut cx, "test")
    };

    let mut long = pin!(Bounded::new(Forever(Some(hour)), Duration::ZERO));
    assert_eq!(once(long.as_mut()), Poll::Pending);
    // The next wait has the rest of that time.
    long.as_mut().continue_with(Forever(None));
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(once(long.as_mut()), Poll::Pending);

    // A deadline that is set is not extended.
    let mut short = pin!(Bounded::new(Forever(None), Duration::ZERO));
    short.as_mut().continue_with(Forever(Some(hour)));
    let woke = poll_fn(|cx| short.as_mut().poll(cx, "test")).await;
    assert_eq!(woke, None);
}

#[cfg(feature = "warp")]
#[tokio::test]
async fn a_host_without_services_gets_the_same_decisions() {
    let request = Request::new(());
    let head = RequestHead::of(&request);
    let limit = Duration::from_millis(20);
    for (waits, end, expected) in [
        (0, End::Pass, Ok(0)),
        (3, End::Pass, Ok(3)),
        (2, End::Answer, Err(StatusCode::PERMANENT_REDIRECT)),
        (2, End::Refuse, Err(StatusCode::FORBIDDEN)),
        (2, End::Panic, Err(StatusCode::SERVICE_UNAVAILABLE)),
        (2, End::Hang, Err(StatusCode::SERVICE_UNAVAILABLE)),
        (2, End::Again, Err(StatusCode::SERVICE_UNAVAILABLE)),
    ] {
        let toy = Toy {
            limit,
            ..Toy::new(waits, end)
        };
        let decided = decide(&toy, head).await;
        let decided = decided.map_err(|response| response.status());
        assert_eq!(decided, expected, "{end:?}");
    }
}

#[tokio::test]
async fn a_completed_future_stays_pending() {
    type Inner = Ready<Result<Response<String>, &'static str>>;

    let mut cx = Context::from_waker(std::task::Waker::noop());
    let answered = ResponseFuture::<Inner>::answered(Box::default(), false);
    let mut answered = pin!(answered);
    assert!(format!("{answered:?}").contains("denied"));
    assert!(answered.as_mut().poll(&mut cx).is_ready());
    assert!(answered.as_mut().poll(&mut cx).is_pending());
}

#[test]
fn futures_are_sendable_and_small() {
    fn sendable<T: Send>(_: &T) {}
    type Inner = Ready<Result<Response<()>, Infallible>>;

    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(()))));
    let mut service = Toy::new(1, End::Pass).layer(inner);
    sendable(&service.call(Request::new(())));
    // The cold states are boxed, also those of a layer that waits.
    assert!(size_of::<ResponseFuture<Inner>>() <= size_of::<Inner>() + 16);
    let waiting = size_of_val(&service.call(Request::new(())));
    assert!(
        waiting <= size_of::<Inner>() + size_of::<After>() + 16,
        "{waiting}"
    );
    assert!(size_of::<After>() <= 16);
}
