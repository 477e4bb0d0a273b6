//! Any bytes in a certificate header of each form, from a trusted proxy and from another peer.
//!
//! The oracle reads the header in the plainest way. A request passes if and only if the oracle finds the
//! certificate of the token in it.

#![no_main]

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::pin,
    sync::LazyLock,
    task::{Context, Poll, Waker},
};

use base64::{Engine as _, engine::general_purpose::{STANDARD, STANDARD_NO_PAD}};
use http::{HeaderValue, Request, Response, StatusCode};
use libfuzzer_sys::{Corpus, fuzz_target};
use tower::{Layer, Service, service_fn};
use tower_jwt_auth::{
    JwtAuthLayer, Verifier,
    key::Algorithm,
    layer::{
        mtls::{CertificateHeader, Mtls},
        peer::{PeerAddr, PeerCertificate},
    },
    test_util::{TestIssuer, TestKeys},
};

/// Long enough for padding, and with a `+` and a `/` in its base64.
const CERTIFICATE: &[u8] = b"\x30\x03\xfb\xff\xfe the certificate of the client ?>";
const FORMS: [CertificateHeader; 4] = [
    CertificateHeader::ClientCert,
    CertificateHeader::Xfcc,
    CertificateHeader::Nginx,
    CertificateHeader::HaProxy,
];

struct World {
    token: HeaderValue,
    layers: Vec<JwtAuthLayer>,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let certificate = PeerCertificate::from_der(CERTIFICATE);
    let token = TestIssuer::new(Algorithm::Hs256).token_for(&certificate, |_| ());
    let verifier = Verifier::key(TestKeys::new().verifying_key(Algorithm::Hs256))
        .audience("https://api.example")
        .build()
        .unwrap();
    let layer = |form| {
        let rules = Mtls::behind(["10.0.0.7"], form).build().unwrap();
        JwtAuthLayer::new(verifier.clone()).mtls(rules)
    };
    World {
        token: HeaderValue::try_from(format!("Bearer {token}")).unwrap(),
        layers: FORMS.map(layer).into(),
    }
});

fuzz_target!(|bytes: &[u8]| -> Corpus {
    let Some((kind, rest)) = bytes.split_first() else {
        return Corpus::Reject;
    };
    let form = FORMS[usize::from(kind % 4)];
    let world = &*WORLD;
    let mut lines = Vec::new();
    for line in rest.split(|byte| *byte == b'\n') {
        match HeaderValue::from_bytes(&filled(line)) {
            Ok(value) => lines.push(value),
            Err(_) => return Corpus::Reject,
        }
    }
    for (peer, is_trusted) in [("10.0.0.7:1", true), ("10.0.0.8:1", false)] {
        let mut request = Request::new(());
        request.headers_mut().insert("authorization", world.token.clone());
        for line in &lines {
            request.headers_mut().append(form.name(), line.clone());
        }
        let peer: SocketAddr = peer.parse().unwrap();
        request.extensions_mut().insert(PeerAddr(peer));
        let status = answer(&world.layers[usize::from(kind % 4)], request);
        if !is_trusted {
            assert_eq!(status, StatusCode::UNAUTHORIZED, "an untrusted peer");
            continue;
        }
        let expected = match lines.as_slice() {
            [line] => found(form, line.as_bytes().trim_ascii()),
            _ => Found::Malformed,
        };
        let expected = match expected {
            Found::Malformed => StatusCode::BAD_REQUEST,
            Found::Certificate(der) if der == CERTIFICATE => StatusCode::OK,
            Found::Certificate(_) | Found::Nothing => StatusCode::UNAUTHORIZED,
        };
        assert_eq!(status, expected, "{form:?} {lines:?}");
    }
    Corpus::Keep
});

/// Puts in what no fuzzer can guess.
fn filled(line: &[u8]) -> Vec<u8> {
    let base64 = STANDARD.encode(CERTIFICATE);
    let escaped = format!(
        "-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n"
    );
    let escaped = escaped.replace('\n', "%0A").replace(' ', "%20").replace('+', "%2B");
    let mut filled = Vec::new();
    let mut rest = line;
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'@', [b'b', after @ ..]) => {
                filled.extend_from_slice(base64.as_bytes());
                after
            }
            (b'@', [b'p', after @ ..]) => {
                filled.extend_from_slice(escaped.as_bytes());
                after
            }
            (byte, after) => {
                filled.push(*byte);
                after
            }
        };
    }
    filled
}

fn answer(layer: &JwtAuthLayer, request: Request<()>) -> StatusCode {
    let inner = async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()));
    let mut service = layer.layer(service_fn(inner));
    let mut answer = pin!(service.call(request));
    match answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(answer)) => answer.status(),
        Poll::Pending => panic!("nothing is to be waited for"),
    }
}

enum Found {
    Nothing,
    Malformed,
    Certificate(Vec<u8>),
}

fn found(form: CertificateHeader, value: &[u8]) -> Found {
    if value.is_empty() {
        return Found::Nothing;
    }
    // No form has other bytes in a part that counts.
    let text: String = value.iter().map(|byte| char::from(*byte)).collect();
    let der = match form {
        CertificateHeader::HaProxy => base64(&text),
        CertificateHeader::ClientCert => match text.len() > 1 {
            true if text.starts_with(':') && text.ends_with(':') => base64(&text[1..text.len() - 1]),
            _ => None,
        },
        CertificateHeader::Nginx => pem(&text),
        _ => match elements(&text).as_deref() {
            Some([pairs]) => {
                let certs: Vec<_> = pairs
                    .iter()
                    .filter(|(key, _)| key.trim_matches(is_space).eq_ignore_ascii_case("cert"))
                    .collect();
                match certs.as_slice() {
                    [] => return Found::Nothing,
                    [(_, value)] => pem(value),
                    _ => None,
                }
            }
            _ => None,
        },
    };
    match der {
        Some(der) if !der.is_empty() => Found::Certificate(der),
        _ => Found::Malformed,
    }
}

fn is_space(character: char) -> bool {
    character.is_ascii_whitespace()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    // Padding may be complete, shortened or missing.
    let bare = text.trim_end_matches('=');
    let padding = text.len() - bare.len();
    let most = (4 - bare.len() % 4) % 4;
    if padding > most {
        return None;
    }
    STANDARD_NO_PAD.decode(bare).ok()
}

fn pem(text: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let byte = match character {
            '%' => {
                let high = characters.next()?.to_digit(16)?;
                let low = characters.next()?.to_digit(16)?;
                u8::try_from(high * 16 + low).unwrap()
            }
            other => u8::try_from(u32::from(other)).ok()?,
        };
        decoded.push(byte);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let body = decoded
        .trim_matches(is_space)
        .strip_prefix("-----BEGIN CERTIFICATE-----")?
        .strip_suffix("-----END CERTIFICATE-----")?;
    base64(&body.replace(is_space, ""))
}

type Pair = (String, String);

/// The elements of Envoy's header, each with its pairs. `None` if the text is no list of them.
fn elements(text: &str) -> Option<Vec<Vec<Pair>>> {
    let mut elements = vec![Vec::new()];
    let mut characters = text.chars().peekable();
    loop {
        let mut key = String::new();
        loop {
            match characters.next()? {
                '=' => break,
                ',' | ';' | '"' => return None,
                other => key.push(other),
            }
        }
        let mut value = String::new();
        if characters.peek() == Some(&'"') {
            characters.next();
            loop {
                match characters.next()? {
                    '"' => break,
                    '\\' => {
                        value.push('\\');
                        value.push(characters.next()?);
                    }
                    other => value.push(other),
                }
            }
        } else {
            while let Some(next) = characters.peek() {
                match next {
                    ',' | ';' => break,
                    '"' => return None,
                    _ => value.push(characters.next()?),
                }
            }
        }
        elements.last_mut()?.push((key, value));
        match characters.next() {
            None => return Some(elements),
            Some(';') => {}
            Some(',') => elements.push(Vec::new()),
            Some(_) => return None,
        }
    }
}
