//! HMAC-SHA-256 (RFC 2104) and HKDF-SHA-256 (RFC 5869) of the cryptographic library.

#[cfg(feature = "aws-lc-rs")]
pub(crate) use self::aws_lc::MacKey;
#[cfg(feature = "aws-lc-rs")]
pub(super) use self::aws_lc::expand;
#[cfg(not(feature = "aws-lc-rs"))]
pub(crate) use self::rust_crypto::MacKey;
#[cfg(not(feature = "aws-lc-rs"))]
pub(super) use self::rust_crypto::expand;

/// The length of a tag and of a derived key, in bytes.
pub(crate) const TAG: usize = 32;

#[cfg(feature = "aws-lc-rs")]
mod aws_lc {
    use aws_lc_rs::{
        constant_time::verify_slices_are_equal,
        hkdf::{HKDF_SHA256, KeyType, Salt},
        hmac::{self, HMAC_SHA256},
    };

    use super::TAG;
    use crate::secret::Secret;

    /// A key that is prepared once.
    // Boxed: its two prepared hash states take more than 1 KiB.
    pub(crate) struct MacKey(Box<hmac::Key>);

    impl MacKey {
        pub(crate) fn new(key: &Secret<[u8; TAG]>) -> Self {
            Self(Box::new(hmac::Key::new(HMAC_SHA256, key.expose())))
        }

        /// Returns the tag of the parts, as if they were one message.
        pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; TAG] {
            let mut tag = [0; TAG];
            for (byte, computed) in tag.iter_mut().zip(self.compute(parts).as_ref()) {
                *byte = *computed;
            }
            tag
        }

        /// Returns `true` if this is the tag of the parts. The comparison takes constant time.
        pub(crate) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
            verify_slices_are_equal(self.compute(parts).as_ref(), tag).is_ok()
        }

        fn compute(&self, parts: &[&[u8]]) -> hmac::Tag {
            let mut context = hmac::Context::with_key(&self.0);
            parts.iter().for_each(|part| context.update(part));
            context.sign()
        }
    }

    struct Length(usize);

    impl KeyType for Length {
        fn len(&self) -> usize {
            self.0
        }
    }

    /// Fills the output with key material for one purpose.
    pub(in crate::secret) fn expand(root: &[u8], label: &[u8], output: &mut [u8]) {
        let key = Salt::none(HKDF_SHA256).extract(root);
        // The only error is an output of more than 8160 bytes.
        if let Ok(material) = key.expand(&[label], Length(output.len())) {
            let _ = material.fill(output);
        }
    }
}

#[cfg(not(feature = "aws-lc-rs"))]
mod rust_crypto {
    use hkdf::Hkdf;
    use hmac::{Hmac, Mac};
    use sha2::Sha256;

    use super::TAG;
    use crate::secret::Secret;

    /// A key that is prepared once.
    pub(crate) struct MacKey(Hmac<Sha256>);

    impl MacKey {
        pub(crate) fn new(key: &Secret<[u8; TAG]>) -> Self {
            // HMAC fills a key with zeros up to a block (RFC 2104 §2).
            let mut block = Secret::new([0; 64]);
            for (byte, of_key) in block.0.iter_mut().zip(key.expose()) {
                *byte = *of_key;
            }
            Self(Hmac::new(block.expose().into()))
        }

        /// Returns the tag of the parts, as if they were one message.
        pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; TAG] {
            self.compute(parts).finalize().into_bytes().into()
        }

        /// Returns `true` if this is the tag of the parts. The comparison takes constant time.
        pub(crate) fn verifies(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
            self.compute(parts).verify_slice(tag).is_ok()
        }

        fn compute(&self, parts: &[&[u8]]) -> Hmac<Sha256> {
            let mut mac = self.0.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac
        }
    }

    /// Fills the output with key material for one purpose.
    pub(in crate::secret) fn expand(root: &[u8], label: &[u8], output: &mut [u8]) {
        // The only error is an output of more than 8160 bytes.
        let _ = Hkdf::<Sha256>::new(None, root).expand(label, output);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn a_tag_is_hmac_sha_256() {
        // By the module `hmac` of Python.
        let key = MacKey::new(&Secret::new([0x0b; TAG]));
        let tag = key.tag(&[b"Hi ", b"", b"There"]);
        assert_eq!(hex(&tag), HI_THERE);
        assert!(key.verifies(&[b"Hi There"], &tag));
        assert!(!key.verifies(&[b"Hi there"], &tag));
        assert!(!key.verifies(&[b"Hi There"], &tag[..TAG - 1]));
        assert!(!key.verifies(&[b"Hi There"], &[]));
        assert!(!MacKey::new(&Secret::new([0x0c; TAG])).verifies(&[b"Hi There"], &tag));
    }

    #[test]
    fn key_material_is_that_of_rfc_5869_a_3() {
        let mut output = [0; 42];
        expand(&[0x0b; 22], b"", &mut output);
        assert_eq!(
            hex(&output),
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
        );
    }

    const HI_THERE: &str = "198a607eb44bfbc69903a0f1cf2bbdc5ba0aa3f3d9ae3c1c7a3b1696a0b68cf7";
}
