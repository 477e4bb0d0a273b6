//! Sessions that are bound to a key of their client: G41.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use tower_jwt_auth::{
    key::Algorithm,
    layer::dpop::{Dpop, DpopBuilder},
    server::{endpoints::AuthEndpoints, login::SignIn, refresh::RefreshPolicy},
    test_util::DpopClient,
    verify::proof::Nonces,
};

use crate::support::endpoints::{
    Answer, ORIGIN, PASSWORD, Server, ada, bearer, form, json as post, request,
};

type Sent = Request<Full<Bytes>>;

/// The public URL of an endpoint.
fn url(path: &str) -> String {
    format!("{ORIGIN}/api/auth/{path}")
}

fn proved(mut request: Sent, proof: &str) -> Sent {
    let proof = HeaderValue::try_from(proof).unwrap();
    request.headers_mut().insert("dpop", proof);
    request
}

/// Adds a proof for a request for tokens.
fn for_tokens(client: &DpopClient, request: Sent) -> Sent {
    let url = format!("{ORIGIN}{}", request.uri().path());
    let proof = client.proof_without_token(request.method().as_str(), &url);
    proved(request, &proof)
}

/// Adds a bound access token and its proof.
fn with_token(client: &DpopClient, mut request: Sent, token: &str) -> Sent {
    let url = format!("{ORIGIN}{}", request.uri().path());
    let proof = client.proof(request.method().as_str(), &url, token);
    let value = format!("DPoP {token}").try_into().unwrap();
    request.headers_mut().insert("authorization", value);
    proved(request, &proof)
}

fn get(path: &str) -> Sent {
    request("GET", path).body(Full::default()).unwrap()
}

fn refresh(token: &str) -> Sent {
    post("refresh", &json!({ "refresh_token": token }))
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

struct Bound {
    server: Server,
    dpop: Dpop,
    client: DpopClient,
}

impl Bound {
    async fn with(change: impl FnOnce(DpopBuilder) -> DpopBuilder) -> Self {
        let (server, dpop) = Server::with_dpop(change).await;
        let client = DpopClient::new(Algorithm::Es256).clock(server.clock.clone());
        Self {
            server,
            dpop,
            client,
        }
    }

    async fn start() -> Self {
        Self::with(|dpop| dpop).await
    }

    fn thief(&self) -> DpopClient {
        DpopClient::new(Algorithm::Es256).clock(self.server.clock.clone())
    }

    async fn prove(&self, request: Sent) -> Answer {
        self.server.send(for_tokens(&self.client, request)).await
    }

    /// Sends a request with the client's bound token.
    async fn call(&self, request: Sent, token: &str) -> Answer {
        let request = with_token(&self.client, request, token);
        self.server.send(request).await
    }

    /// Signs ada in with a proof.
    async fn sign_in(&self) -> Answer {
        let answer = self.prove(post("login", &ada())).await;
        self.is_bound(&answer);
        answer
    }

    #[track_caller]
    fn is_bound(&self, answer: &Answer) {
        assert!(answer.status.is_success(), "{answer:?}");
        assert_eq!(answer.text("token_type"), "DPoP");
        let cnf = &claims(&answer.access())["cnf"];
        assert_eq!(cnf, &json!({ "jkt": self.client.thumbprint() }));
        let plain = self.server.verifier.verify_now(answer.access());
        assert!(plain.is_err(), "not accepted without a proof");
    }
}

#[tokio::test]
async fn g41_a_proof_binds_every_sign_in() {
    let bound = Bound::start().await;
    let new = json!({ "email": "eve@example.org", "password": PASSWORD });
    let grant = format!("grant_type=password&username=ada@example.org&password={PASSWORD}");
    for request in [
        post("login", &ada()),
        form("token", &grant.replace(' ', "+")),
        post("register", &new),
        post("guest", &json!({})),
    ] {
        let path = request.uri().path().to_owned();
        let answer = bound.prove(request).await.not_kept();
        bound.is_bound(&answer);
        let next = bound.prove(refresh(&answer.refresh())).await;
        bound.is_bound(&next);
        assert_ne!(next.refresh(), answer.refresh(), "{path}");
        let listed = bound.call(get("sessions"), &next.access()).await;
        let listed = &listed.json()["sessions"][0];
        assert_eq!(listed["bound"], true, "{path}");
    }
    // Without a proof, everything is as before.
    let plain = bound.server.sign_in().await;
    assert_eq!(plain.text("token_type"), "Bearer");
    assert_eq!(claims(&plain.access()).get("cnf"), None);
    let listed = bearer(get("sessions"), &plain.access());
    let listed = bound.server.send(listed).await.json();
    let sessions = listed["sessions"].as_array().unwrap();
    let bound_ones = sessions.iter().filter(|one| one["bound"] == true).count();
    assert_eq!((sessions.len(), bound_ones), (3, 2), "of ada");
}

/// The proofs that a copied refresh token may come with.
fn bad_proofs(bound: &Bound, path: &str) -> Vec<(&'static str, Option<String>)> {
    let (client, thief) = (&bound.client, bound.thief());
    let edited = |name: &str, value: Value| {
        client.edited_proof("POST", &url(path), "", |_, claims| {
            claims.insert(name.to_owned(), value)
        })
    };
    let now = claims(&client.proof_without_token("POST", &url(path)))["iat"]
        .as_i64()
        .unwrap();
    let forged = thief.edited_proof("POST", &url(path), "", |header, _| {
        header.insert("jwk".to_owned(), client.public_jwk())
    });
    let good = client.proof_without_token("POST", &url(path));
    let foreign = good.rsplit_once('.').unwrap().1.to_owned();
    let changed = forged.rsplit_once('.').unwrap().0.to_owned() + "." + &foreign;
    vec![
        ("none", None),
        (
            "another key",
            Some(thief.proof_without_token("POST", &url(path))),
        ),
        (
            "another method",
            Some(client.proof_without_token("GET", &url(path))),
        ),
        (
            "another endpoint",
            Some(client.proof_without_token("POST", &url("logout"))),
        ),
        (
            "another host",
            Some(client.proof_without_token("POST", "https://app.example.evil/api/auth/login")),
        ),
        ("old", Some(edited("iat", (now - 61).into()))),
        ("of the future", Some(edited("iat", (now + 31).into()))),
        ("no identifier", Some(edited("jti", "".into()))),
        ("the key of the client, signed by the thief", Some(forged)),
        ("the signature of another proof", Some(changed)),
        ("no proof at all", Some("abc".to_owned())),
        ("longer than allowed", Some("a".repeat(8 * 1024 + 1))),
    ]
}

#[tokio::test]
async fn g41_a_copied_refresh_token_is_of_no_use_and_ends_nothing() {
    let bound = Bound::start().await;
    let first = bound.sign_in().await;
    bound.server.told();
    for path in ["refresh", "token"] {
        let send = || match path {
            "token" => form(
                path,
                &format!("grant_type=refresh_token&refresh_token={}", first.refresh()),
            ),
            _ => refresh(&first.refresh()),
        };
        for (case, proof) in bad_proofs(&bound, path) {
            let request = match proof {
                None => send(),
                Some(proof) => proved(send(), &proof),
            };
            let answer = bound.server.send(request).await;
            assert_eq!(answer.text("error"), "invalid_dpop_proof", "{path}: {case}");
            answer.is(400, "invalid_dpop_proof");
        }
    }
    // Two proofs in one request.
    let mut twice = for_tokens(&bound.client, refresh(&first.refresh()));
    let second = bound.client.proof_without_token("POST", &url("refresh"));
    let second = HeaderValue::try_from(second).unwrap();
    twice.headers_mut().append("dpop", second);
    let answer = bound.server.send(twice).await;
    answer.is(400, "invalid_dpop_proof");

    // The token is not used up, and no grace window is open: this is the first rotation.
    let next = bound.prove(refresh(&first.refresh())).await;
    bound.is_bound(&next);
    assert_eq!(claims(&next.access())["rtg"], 1);
    bound.server.advance(Duration::from_secs(31));
    let third = bound.prove(refresh(&next.refresh())).await;
    assert_eq!(claims(&third.access())["rtg"], 2);
    // A thief with the spent token finds no reuse, and ends nothing.
    let thief = bound.thief();
    let spent = for_tokens(&thief, refresh(&first.refresh()));
    bound.server.send(spent).await.is(400, "invalid_dpop_proof");
    assert_eq!(
        bound.call(get("sessions"), &third.access()).await.status,
        200
    );
}

#[tokio::test]
async fn g41_a_proof_is_used_once_over_all_endpoints() {
    let bound = Bound::start().await;
    let proof = bound.client.proof_without_token("POST", &url("login"));
    let login = || proved(post("login", &ada()), &proof);
    bound.is_bound(&bound.server.send(login()).await);
    bound
        .server
        .send(login())
        .await
        .is(400, "invalid_dpop_proof");
    let first = bound.sign_in().await;
    let proof = bound.client.proof_without_token("POST", &url("refresh"));
    let again = || proved(refresh(&first.refresh()), &proof);
    bound.is_bound(&bound.server.send(again()).await);
    bound
        .server
        .send(again())
        .await
        .is(400, "invalid_dpop_proof");
    // The client itself repeats with a new proof.
    bound.is_bound(&bound.prove(refresh(&first.refresh())).await);
}

#[tokio::test]
async fn g41_a_bad_proof_starts_no_session_and_counts_no_attempt() {
    let bound = Bound::start().await;
    for _ in 0..4 {
        for (case, proof) in bad_proofs(&bound, "login") {
            // Without a proof and with the thief's own, a login is a login.
            let Some(proof) = proof.filter(|_| case != "another key") else {
                continue;
            };
            let answer = bound
                .server
                .send(proved(post("login", &ada()), &proof))
                .await;
            assert_eq!(answer.text("error"), "invalid_dpop_proof", "{case}");
        }
    }
    let told = bound.server.told();
    assert!(
        told.iter()
            .all(|event| event == "request.denied invalid_dpop_proof"),
        "{told:?}"
    );
    let listed = bound.sign_in().await.access();
    let listed = bound.call(get("sessions"), &listed).await.json();
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn g41_a_signature_is_verified_after_every_limit() {
    let bound = Bound::start().await;
    let wrong = json!({ "email": "ada@example.org", "password": "another password" });
    for _ in 0..20 {
        let answer = bound.prove(post("login", &wrong)).await;
        assert!([401, 429].contains(&answer.status.as_u16()), "{answer:?}");
    }
    for token in ["rt1_garbage", "", "abc"] {
        let answer = bound.prove(refresh(token)).await;
        assert_eq!(answer.status, 400);
    }
    for (_, proof) in bad_proofs(&bound, "login").into_iter().skip(2).take(6) {
        let proof = proof.unwrap();
        bound
            .server
            .send(proved(post("login", &ada()), &proof))
            .await;
    }
    assert_eq!(bound.dpop.verifications(), 0);
    assert_eq!(bound.dpop.remembered(), 0);
}

/// The holder of one refresh token must not fill the memory of used proofs with many keys.
#[tokio::test]
async fn g41_proofs_by_other_keys_than_the_sessions_take_no_memory() {
    let bound = Bound::start().await;
    let plain = bound.server.sign_in().await.refresh();
    let own = bound.sign_in().await.refresh();
    let before = (bound.dpop.verifications(), bound.dpop.remembered());
    assert_eq!(before, (1, 1));
    for _ in 0..20 {
        let refused = for_tokens(&bound.thief(), refresh(&own));
        bound
            .server
            .send(refused)
            .await
            .is(400, "invalid_dpop_proof");
        let answered = for_tokens(&bound.thief(), refresh(&plain));
        assert_eq!(bound.server.send(answered).await.status, 200);
    }
    assert_eq!(
        (bound.dpop.verifications(), bound.dpop.remembered()),
        before
    );
}

#[tokio::test]
async fn g41_an_unbound_session_is_never_bound_later() {
    let bound = Bound::start().await;
    let first = bound.server.sign_in().await;
    // A thief of an unbound token could otherwise bind the session to the thief's key.
    let next = bound.prove(refresh(&first.refresh())).await;
    assert_eq!(next.text("token_type"), "Bearer");
    assert_eq!(claims(&next.access()).get("cnf"), None);
    bound.server.advance(Duration::from_secs(31));
    let body = json!({ "refresh_token": next.refresh() });
    assert_eq!(bound.server.post("refresh", &body).await.status, 200);
    // A proof is checked all the same.
    let proof = bound.client.proof_without_token("GET", &url("refresh"));
    let bad = proved(refresh(&next.refresh()), &proof);
    bound.server.send(bad).await.is(400, "invalid_dpop_proof");
}

#[tokio::test]
async fn g41_bound_tokens_are_not_set_as_cookies() {
    let bound = Bound::start().await;
    for path in ["login?transport=cookie", "guest?transport=cookie"] {
        let answer = bound.prove(post(path, &ada())).await;
        assert_eq!(answer.cookies(), [""; 0], "{path}");
        answer.is(400, "invalid_request");
    }
    let first = bound.sign_in().await;
    // In a cookie, a bound access token is a token without a proof.
    let mut request = get("sessions");
    let cookie = format!("__Host-at={}", first.access());
    request
        .headers_mut()
        .insert("cookie", cookie.try_into().unwrap());
    bound.server.send(request).await.is(401, "invalid_token");
    // Cookies without a proof work as before.
    let browser = bound.server.browser().await;
    let mut listed = get("sessions");
    listed = browser.dress(listed);
    assert_eq!(bound.server.send(listed).await.status, 200);
}

#[tokio::test]
async fn g41_a_bound_token_needs_its_proof_at_the_endpoints() {
    let bound = Bound::start().await;
    let token = bound.sign_in().await.access();
    let ok = bound.call(get("sessions"), &token).await;
    assert_eq!(ok.status, 200);

    let plain = bearer(get("sessions"), &token);
    bound.server.send(plain).await.is(401, "invalid_token");
    let mut bare = get("sessions");
    let value = HeaderValue::try_from(format!("DPoP {token}")).unwrap();
    bare.headers_mut().insert("authorization", value.clone());
    let answer = bound.server.send(bare).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges[0], "Bearer realm=\"api\"");
    let dpop = challenges[1].to_str().unwrap();
    assert!(
        dpop.starts_with("DPoP realm=\"api\", error=\"invalid_dpop_proof\""),
        "{dpop}"
    );
    assert!(
        dpop.contains(", algs=\"") && dpop.contains("ES256"),
        "{dpop}"
    );
    answer.is(401, "invalid_dpop_proof");

    let thief = bound.thief();
    let stolen = with_token(&thief, get("sessions"), &token);
    bound.server.send(stolen).await.is(401, "invalid_token");
    let other = bound.sign_in().await.access();
    let proof = bound.client.proof("GET", &url("sessions"), &other);
    let mut swapped = proved(get("sessions"), &proof);
    swapped.headers_mut().insert("authorization", value);
    bound
        .server
        .send(swapped)
        .await
        .is(401, "invalid_dpop_proof");
    let once = with_token(&bound.client, get("sessions"), &token);
    let (parts, _) = once.into_parts();
    let again = || Request::from_parts(parts.clone(), Full::<Bytes>::default());
    assert_eq!(bound.server.send(again()).await.status, 200);
    bound
        .server
        .send(again())
        .await
        .is(401, "invalid_dpop_proof");

    // An unbound token has no place in the scheme, and no token is bound by a proof.
    let unbound = bound.server.sign_in().await.access();
    bound
        .call(get("sessions"), &unbound)
        .await
        .is(401, "invalid_token");
}

#[tokio::test]
async fn g41_a_new_session_of_a_bound_caller_has_the_same_key() {
    let bound = Bound::start().await;
    let first = bound.sign_in().await;
    let change = json!({ "current_password": PASSWORD, "new_password": "another long password" });
    let answer = bound.call(post("password", &change), &first.access()).await;
    bound.is_bound(&answer);
    assert_ne!(
        claims(&answer.access())["sid"],
        claims(&first.access())["sid"]
    );
    let next = bound.prove(refresh(&answer.refresh())).await;
    bound.is_bound(&next);
    // The session from before has ended.
    let gone = bound.prove(refresh(&first.refresh())).await;
    gone.is(400, "invalid_grant");
}

#[tokio::test]
async fn g41_a_bound_session_is_ended_by_its_token() {
    let bound = Bound::start().await;
    let ends = async |tokens: &Answer| {
        let refused = bound.prove(refresh(&tokens.refresh())).await;
        assert_eq!(refused.text("code"), "session_revoked");
    };
    // With the access token and its proof.
    let tokens = bound.sign_in().await;
    let empty = post("logout", &json!({}));
    assert_eq!(bound.call(empty, &tokens.access()).await.status, 204);
    ends(&tokens).await;
    // With a copied access token alone nothing ends.
    let tokens = bound.sign_in().await;
    for scope in [json!({}), json!({ "scope": "all" })] {
        let copied = bearer(post("logout", &scope), &tokens.access());
        bound.server.send(copied).await;
        let copied = with_token(&bound.thief(), post("logout", &scope), &tokens.access());
        bound.server.send(copied).await.is(401, "invalid_token");
    }
    bound.is_bound(&bound.prove(refresh(&tokens.refresh())).await);
    // With the refresh token, and by RFC 7009 with either token.
    let body = json!({ "refresh_token": tokens.refresh() });
    assert_eq!(bound.server.post("logout", &body).await.status, 204);
    ends(&tokens).await;
    for of in [Answer::access, Answer::refresh] {
        let tokens = bound.sign_in().await;
        let revoked = bound
            .server
            .post("revoke", &json!({ "token": of(&tokens) }))
            .await;
        assert_eq!(revoked.status, 200);
        ends(&tokens).await;
    }
}

#[tokio::test]
async fn g41_one_proof_links_a_bound_guest_and_binds_the_user() {
    let bound = Bound::start().await;
    let guest = bound.prove(post("guest", &json!({}))).await;
    bound.is_bound(&guest);
    // A guest that asks again keeps its token.
    let again = bound.call(post("guest", &json!({})), &guest.access()).await;
    assert_eq!(again.text("token_type"), "DPoP");
    assert_eq!(again.access(), guest.access());

    let mut login = ada();
    login["link"] = true.into();
    // A copied guest token links nothing.
    let stolen = bearer(post("login", &login), &guest.access());
    let answer = bound.server.send(stolen).await;
    assert_eq!(answer.json()["link"]["outcome"], "not_found");
    let thief = with_token(&bound.thief(), post("login", &login), &guest.access());
    bound.server.send(thief).await.is(401, "invalid_token");

    let answer = bound.call(post("login", &login), &guest.access()).await;
    bound.is_bound(&answer);
    assert_eq!(answer.json()["link"]["outcome"], "linked");
    // An unbound guest is linked by a user who binds the session.
    let guest = bound.server.post("guest", &json!({})).await;
    let request = for_tokens(&bound.client, post("login", &login));
    let answer = bound.server.send(bearer(request, &guest.access())).await;
    bound.is_bound(&answer);
    assert_eq!(answer.json()["link"]["outcome"], "linked");
}

#[tokio::test]
async fn g41_nonces_are_demanded_before_anything_is_counted() {
    let nonces = Nonces::with_key([7; 32]).unwrap();
    let bound = Bound::with(|dpop| dpop.nonces(nonces)).await;
    for _ in 0..30 {
        let answer = bound.prove(post("login", &ada())).await;
        assert!(answer.headers.contains_key("dpop-nonce"));
        answer.is(400, "use_dpop_nonce");
    }
    let refused = bound.prove(post("login", &ada())).await;
    assert!(bound.client.take_nonce(&refused.headers));
    let first = bound.sign_in().await;
    assert!(!first.headers.contains_key("dpop-nonce"), "it is fresh");
    // Beside a bound token the refusal is that of a resource.
    let stranger = DpopClient::clone(&bound.client);
    let proof = stranger.edited_proof("GET", &url("sessions"), &first.access(), |_, claims| {
        claims.remove("nonce")
    });
    let mut request = proved(get("sessions"), &proof);
    let value = HeaderValue::try_from(format!("DPoP {}", first.access())).unwrap();
    request.headers_mut().insert("authorization", value);
    let answer = bound.server.send(request).await;
    let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
    assert!(
        challenges[1]
            .to_str()
            .unwrap()
            .contains("error=\"use_dpop_nonce\"")
    );
    assert!(answer.headers.contains_key("dpop-nonce"));
    answer.is(401, "use_dpop_nonce");

    // An ageing nonce is accepted, and the response has the next one.
    bound.server.advance(Duration::from_secs(151));
    let next = bound.prove(refresh(&first.refresh())).await.not_kept();
    bound.is_bound(&next);
    assert!(bound.client.take_nonce(&next.headers));
    let third = bound.prove(refresh(&next.refresh())).await;
    bound.is_bound(&third);
    assert!(!third.headers.contains_key("dpop-nonce"));
    // A nonce that is too old is refused, and the client recovers.
    bound.server.advance(Duration::from_secs(400));
    let late = bound.prove(refresh(&third.refresh())).await;
    assert!(bound.client.take_nonce(&late.headers));
    late.is(400, "use_dpop_nonce");
    bound.is_bound(&bound.prove(refresh(&third.refresh())).await);
}

#[tokio::test]
async fn g41_where_proofs_are_required_no_other_session_starts_or_continues() {
    let (server, _) = Server::with_dpop(DpopBuilder::required).await;
    let new = json!({ "email": "eve@example.org", "password": PASSWORD });
    for (path, body) in [
        ("login", ada()),
        ("token", ada()),
        ("register", new),
        ("guest", json!({})),
        ("login?transport=cookie", ada()),
        ("refresh", json!({ "refresh_token": "rt1_garbage" })),
    ] {
        server.post(path, &body).await.is(400, "invalid_dpop_proof");
    }
    let plain = server.send(bearer(get("sessions"), "abc.def.ghi")).await;
    let challenges: Vec<_> = plain.headers.get_all("www-authenticate").iter().collect();
    let [challenge] = challenges[..] else {
        panic!("{challenges:?}")
    };
    assert!(
        challenge
            .to_str()
            .unwrap()
            .starts_with("DPoP realm=\"api\", algs=\"")
    );
    assert_eq!(plain.status, 401);

    // A session from before has no key, and its client signs in again.
    let start = tower_jwt_auth::server::session::StartSession::new("u-ada");
    let before = server.sessions.start(start).await.unwrap();
    let client = DpopClient::new(Algorithm::EdDsa).clock(server.clock.clone());
    let request = for_tokens(&client, refresh(before.refresh_token().expose()));
    server.send(request).await.is(400, "invalid_grant");
    let signed_in = server
        .send(for_tokens(&client, post("login", &ada())))
        .await;
    assert_eq!(signed_in.text("token_type"), "DPoP");
}

#[tokio::test]
async fn g41_without_dpop_a_bound_session_waits_for_it() {
    let bound = Bound::start().await;
    let tokens = bound.sign_in().await;
    let server = &bound.server;
    let secret = tower_jwt_auth::secret::SecretKey::generate();
    let off = AuthEndpoints::builder(server.sessions.clone(), server.login.clone(), secret);
    let off = off.public_origin(ORIGIN).build().unwrap();
    let request = for_tokens(&bound.client, refresh(&tokens.refresh()));
    let Ok(answer) = tower::ServiceExt::oneshot(off, request).await;
    // The client can do nothing but sign in again.
    Answer::of(answer).await.is(400, "invalid_grant");
    bound.is_bound(&bound.prove(refresh(&tokens.refresh())).await);
}

#[tokio::test]
async fn g41_a_sign_in_of_the_application_is_bound_by_its_request() {
    let bound = Bound::start().await;
    let request = || {
        Request::post("/after-passkey")
            .body(())
            .unwrap()
            .into_parts()
            .0
    };
    let proof = || {
        bound
            .client
            .proof_without_token("POST", &format!("{ORIGIN}/after-passkey"))
    };
    let sign_in = async |proof: Option<String>, who: SignIn| {
        let mut parts = request();
        if let Some(proof) = proof {
            parts.headers.insert("dpop", proof.try_into().unwrap());
        }
        let answer = bound.server.endpoints.sign_in(&parts, who).await;
        Answer::of(answer).await
    };
    let who = || SignIn::new("u-ada").amr(["hwk"]);
    bound.is_bound(&sign_in(Some(proof()), who()).await);
    let plain = sign_in(None, who()).await;
    assert_eq!(plain.text("token_type"), "Bearer");
    let other = bound.client.proof_without_token("POST", &url("login"));
    sign_in(Some(other), who())
        .await
        .is(400, "invalid_dpop_proof");
    let cookies = sign_in(Some(proof()), who().in_cookies(true)).await;
    cookies.is(400, "invalid_request");
}

#[cfg(feature = "totp")]
#[tokio::test]
async fn g41_the_request_that_completes_a_sign_in_binds_it_and_a_raised_session_keeps_its_key() {
    let mut rules = None;
    let server = Server::with_parts(
        true,
        RefreshPolicy::browser(),
        |login, store| login.factors(store.clone()).totp("Example"),
        |endpoints, clock| {
            let dpop = Dpop::at(ORIGIN).clock(clock.clone()).build().unwrap();
            endpoints.dpop(rules.insert(dpop).clone())
        },
    )
    .await;
    let enrolled = server.enrolled().await;
    let client = DpopClient::new(Algorithm::Es256).clock(server.clock.clone());
    let bound = Bound {
        server,
        dpop: rules.unwrap(),
        client,
    };
    let first = bound.prove(post("login", &ada())).await;
    let token = first.text("mfa_token");
    first.is(403, "mfa_required");
    assert_eq!(bound.dpop.remembered(), 0, "no session has started");
    let body = json!({ "mfa_token": token, "code": bound.server.code(&enrolled.app) });
    let bad = bound.client.proof_without_token("POST", &url("login"));
    let refused = proved(post("login/continue", &body), &bad);
    bound
        .server
        .send(refused)
        .await
        .is(400, "invalid_dpop_proof");
    let answer = bound.prove(post("login/continue", &body)).await;
    bound.is_bound(&answer);

    bound.server.advance(Duration::from_secs(60));
    let body = json!({ "code": bound.server.code(&enrolled.app) });
    let raised = bound.call(post("step-up", &body), &answer.access()).await;
    bound.is_bound(&raised);
    assert_ne!(
        claims(&raised.access())["sid"],
        claims(&answer.access())["sid"]
    );
    bound.is_bound(&bound.prove(refresh(&raised.refresh())).await);
}

/// A bound session follows `balanced`, whatever the policy is.
#[tokio::test]
async fn g41_a_bound_session_forgives_lost_answers() {
    let bound = Bound::start().await;
    let first = bound.sign_in().await;
    for lost in 1..8 {
        bound.server.advance(Duration::from_secs(8 * 3600));
        let answer = bound.prove(refresh(&first.refresh())).await;
        bound.is_bound(&answer);
        assert_eq!(claims(&answer.access())["rtg"], lost);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g41_hundred_refreshes_of_a_bound_session_are_one_rotation() {
    let bound = std::sync::Arc::new(Bound::start().await);
    let first = bound.sign_in().await.refresh();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (bound, first) = (std::sync::Arc::clone(&bound), first.clone());
        tasks.spawn(async move {
            let answer = bound.prove(refresh(&first)).await;
            bound.is_bound(&answer);
            answer.refresh()
        });
    }
    let tokens: std::collections::BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(tokens.len(), 1);
    assert_eq!(bound.dpop.verifications(), 101);
}
