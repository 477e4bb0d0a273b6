//! Q3: nothing of a login server prints a secret, a password, a token or a code.

use std::{fmt::Debug, time::Duration};

use tower_jwt_auth::{
    AuthServer, AuthSettings,
    key::{Algorithm, SigningKey},
    layer::api_key::ApiKeyFormat,
    secret::SecretKey,
    server::{
        issue::KeyRing,
        login::{
            Argon2Cost, DeviceTokens, EmailAddress, Identifier, LoginAttempt, LoginOutcome,
            Network, Password, PasswordHash, PasswordHasher, SignIn,
        },
        mail::{Mail, MailPurpose},
        session::{GuestStart, StartSession},
    },
    store::{
        MemoryStore,
        port::{NewOneTime, NewUser, OneTimePurpose, OneTimeToken, StoredFactors, UserStore},
    },
    test_util::TestClock,
    time::Clock,
};

/// 32 bytes, of which no other value here has a part.
const SECRET: &str = "p01s0n-p01s0n-p01s0n-p01s0n-p01s";
const PASSWORD: &str = "a p4ssw0rd that is long enough";

/// What was printed.
#[derive(Default)]
struct Printed(String);

impl Printed {
    fn add(&mut self, value: &dyn Debug) {
        self.0.push_str(&format!("{value:?}\n{value:#?}\n"));
    }

    /// Asserts that no part of a secret was printed, in any form in which Rust prints bytes.
    #[track_caller]
    fn has_nothing_of(&self, what: &str, secret: &str) {
        let bytes = secret.as_bytes();
        let start = &bytes[..bytes.len().min(10)];
        let end = &bytes[bytes.len() - bytes.len().min(10)..];
        for part in [start, end] {
            let decimal = format!("{part:?}");
            let hex: String = part.iter().map(|byte| format!("{byte:02x}")).collect();
            for form in [
                std::str::from_utf8(part).unwrap(),
                decimal.trim_matches(['[', ']']),
                &hex,
            ] {
                assert!(!self.0.contains(form), "{what}: {form} in {}", self.0);
            }
        }
    }
}

fn hasher() -> PasswordHasher {
    let cost = Argon2Cost::dangerous_custom(8, 1, 1).unwrap();
    PasswordHasher::builder().cost(cost).build().unwrap()
}

#[tokio::test]
async fn q3_no_part_of_a_login_server_prints_what_it_keeps_secret() {
    let mut printed = Printed::default();
    let store = MemoryStore::new();
    let secret = SecretKey::from_bytes(*SECRET.as_bytes().first_chunk::<32>().unwrap()).unwrap();
    printed.add(&secret);
    let key = SigningKey::from_secret(Algorithm::Hs256, SECRET).unwrap();
    printed.add(&key);
    let keys = KeyRing::new(SigningKey::generate(Algorithm::EdDsa).unwrap()).unwrap();
    let builder = AuthServer::builder(store.clone())
        .public_origin("https://app.example")
        .secret(secret.clone())
        .keys(keys)
        .login(|login| login.hasher(hasher()));
    let auth = builder.start().await.unwrap();
    printed.add(&auth);
    printed.add(&auth.endpoints());
    printed.add(&auth.sessions());
    printed.add(&auth.login());
    printed.add(&auth.guests());
    printed.add(&auth.identities());
    printed.add(&auth.issuer());
    printed.add(&auth.layer());
    printed.add(&auth.sockets());
    printed.add(&auth.well_known());
    printed.add(&store);

    let name = Identifier::new("ada@example.org").unwrap();
    let password = || Password::new(PASSWORD.to_owned()).unwrap();
    printed.add(&password());
    let hash = hasher().hash(&password()).await.unwrap();
    printed.add(&hash);
    let user = NewUser::new(
        "usr_1",
        name.clone(),
        PasswordHash::new(hash.expose().to_owned()),
    );
    printed.add(&user);
    assert!(store.create(user).await.unwrap());
    let record = store.find(&name).await.unwrap().unwrap();
    printed.add(&record);
    let device = DeviceTokens::new(&secret);
    printed.add(&device);
    let clock = TestClock::new();
    let token = device.mint(&record, clock.now());
    printed.add(&device.read(token.expose(), clock.now()).unwrap());

    let attempt = LoginAttempt::new(name, password())
        .device(token.expose().to_owned())
        .from(Network::UNKNOWN);
    printed.add(&attempt);
    let outcome = auth.login().attempt(&attempt).await;
    printed.add(&outcome);
    let LoginOutcome::Success(accepted) = outcome else {
        panic!("refused");
    };
    let given = accepted.device_token().expose().to_owned();

    let start = StartSession::new("usr_1");
    printed.add(&start);
    printed.add(&SignIn::new("usr_1"));
    let pair = auth.sessions().start(start).await.unwrap();
    printed.add(&pair);
    printed.add(&pair.to_response());
    let guest = auth
        .guests()
        .start(GuestStart::new().bound_to_device())
        .await;
    let guest = guest.unwrap();
    printed.add(&guest);

    let factors = r#"{"v":1,"codes":["a-digest-of-a-code"]}"#;
    printed.add(&StoredFactors::new(1, factors, clock.now()));

    let one_time = OneTimeToken::mint();
    printed.add(&one_time);
    let row = NewOneTime::new(
        &one_time,
        OneTimePurpose::Reset,
        "usr_1",
        Duration::from_secs(60),
    );
    printed.add(&row);
    let address = EmailAddress::new("ada@example.org").unwrap();
    let mut mail = Mail::new(MailPurpose::ResetPassword, address, "usr_1", "app.example");
    mail.link = Some(format!("https://app.example/#{}", one_time.expose()).into());
    mail.code = Some("86420975".to_owned().into());
    printed.add(&mail);
    printed.add(&mail.text());
    let api_key = ApiKeyFormat::new("shop").unwrap().mint();
    printed.add(&api_key);
    let vars = [
        (
            "AUTH_SECRET_KEY",
            "cDAxczBuLXAwMXMwbi1wMDFzMG4tcDAxczBuLXAwMXM",
        ),
        ("AUTH_STORE", "redis://:st0repass@127.0.0.1/0"),
        ("AUTH_PUBLIC_URL", "https://app.example"),
        ("AUTH_SMTP_URL", "smtps://ada:sm7ppassw0rd@mail.example"),
        ("AUTH_MAIL_FROM", "ada@mail.example"),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    printed.add(&AuthSettings::from_vars(vars).unwrap());

    for (what, value) in [
        ("the secret", SECRET),
        (
            "the secret in base64",
            "cDAxczBuLXAwMXMwbi1wMDFzMG4tcDAxczBuLXAwMXM",
        ),
        ("the password", PASSWORD),
        ("its hash", hash.expose()),
        ("a device token", token.expose()),
        ("a new device token", &given),
        ("a refresh token", pair.refresh_token().expose()),
        ("a one-time token", one_time.expose()),
        ("a code", "86420975"),
        ("stored factors", "a-digest-of-a-code"),
        ("the password of the store", "st0repass"),
        ("the password of the mail server", "sm7ppassw0rd"),
    ] {
        printed.has_nothing_of(what, value);
    }
    let after_header = |token: &str| token.split_once('.').unwrap().1.to_owned();
    printed.has_nothing_of(
        "an access token",
        &after_header(pair.access_token().expose()),
    );
    let guest_token = guest.tokens().access_token().expose();
    printed.has_nothing_of("a guest's token", &after_header(guest_token));
    let guest_device = guest.device().map(|device| device.expose().clone());
    printed.has_nothing_of("a guest's device", &guest_device.unwrap());
    let secret_part = api_key.expose().strip_prefix(api_key.display_start());
    printed.has_nothing_of("an API key", secret_part.unwrap());
}
