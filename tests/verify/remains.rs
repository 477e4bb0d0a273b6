//! What a verifier that remembers digests leaves of a token in the process's memory.
#![cfg(target_os = "linux")]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
};

use tower_jwt_auth::{Verifier, secret::Secret};

/// Written backwards, so that the program itself does not hold it:
/// `{"alg":"HS256"}.{"sub":"alice","exp":4102444800}`.
const BACKWARDS: &str = "I5UvUdtEJ5IUaYyfKGfuUmhrV5D6yUdfMAUvGx3dNTT.\
    0HMwgDN0QjMwEDN6ICc4VmIsISZjlGbhJiOiIWdzJye.9JiN1IzUIJiOicGbhJye";

/// Verifies the token, wipes it, and looks for its signature in all the memory that outlives a call.
fn remains(digests: bool, group: bool) -> bool {
    let builder = Verifier::hs256("a secret of at least thirty-two bytes");
    let builder = if digests {
        builder.cache_by_digest()
    } else {
        builder
    };
    let mut verifier = builder.build().unwrap();
    if group {
        verifier = Verifier::by_algorithm([verifier]).unwrap();
    }
    let mut token = String::with_capacity(BACKWARDS.len());
    token.extend(BACKWARDS.chars().rev());
    let token = Secret::new(token);
    for _ in 0..3 {
        assert!(verifier.verify_now(token.expose()).is_ok());
    }
    drop(token);
    let found = memory_holds_backwards(&BACKWARDS.as_bytes()[..43]);
    // Here at the latest the signature would be gone in either case.
    drop(verifier);
    found
}

fn memory_holds_backwards(needle: &[u8]) -> bool {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let memory = File::open("/proc/self/mem").unwrap();
    let mut chunk = vec![0; 1 << 20];
    let mut seen = 0;
    // What a call leaves on the stack the next one overwrites.
    let own_stack = (&raw const seen).addr() as u64;
    for line in maps.lines().filter(|line| line.contains(" rw-p ")) {
        let (range, _) = line.split_once(' ').unwrap();
        let (start, end) = range.split_once('-').unwrap();
        let [mut at, end] = [start, end].map(|hex| u64::from_str_radix(hex, 16).unwrap());
        if (at..end).contains(&own_stack) {
            continue;
        }
        while at < end {
            let length = usize::try_from(end - at).unwrap().min(chunk.len());
            // What another test gave back meanwhile cannot be read.
            let Ok(read) = memory.read_at(&mut chunk[..length], at) else {
                break;
            };
            seen += read;
            let read_here = &chunk[..read];
            let found = needle.last().is_some_and(|&first| {
                memchr::memchr_iter(first, read_here).any(|at| {
                    let window = read_here.get(at..at + needle.len());
                    window.is_some_and(|window| window.iter().eq(needle.iter().rev()))
                })
            });
            if found {
                return true;
            }
            // Chunks overlap, lest the needle lies across two.
            at += u64::try_from(read.max(needle.len()) - needle.len() + 1).unwrap();
            if read <= needle.len() {
                break;
            }
        }
    }
    assert!(seen > 1 << 20, "only {seen} bytes could be read");
    false
}

#[test]
fn q3_no_signature_remains_where_digests_are_remembered() {
    for group in [false, true] {
        let found = remains(true, group);
        assert!(!found, "the signature is still in memory, group: {group}");
    }
    // The search is one that finds.
    assert!(
        remains(false, false),
        "the search found nothing where it must"
    );
}
