//! Message encryption for Web Push (RFC 8291): one record of the content encoding `aes128gcm` (RFC 8188).
//!
//! On the primitives of aws-lc-rs, which TLS has linked already. The crates for it were compared in November 2026: `web-push` 0.11 and
//! `ece` bring OpenSSL, and `web-push-native` 0.5 brings a second implementation of P-256, AES and HKDF, which are most of its code.

use aws_lc_rs::{
    aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    agreement::{ECDH_P256, PrivateKey, UnparsedPublicKey, agree},
    error::Unspecified,
    hkdf::{HKDF_SHA256, KeyType, Prk, Salt},
    rand,
};
use shared::push::{POINT, bytes, point};

const SALT: usize = 16;
/// The size of a record. Ours is shorter, which makes it the last one.
const RECORD_SIZE: u32 = 4096;
/// Follows the text in the last record.
const LAST: u8 = 2;

/// The keys of a subscription.
pub(super) struct DeviceKeys {
    public: [u8; POINT],
    auth: [u8; 16],
}

impl DeviceKeys {
    /// Parses them from base64url without padding.
    pub(super) fn parse(p256dh: &str, auth: &str) -> Option<Self> {
        Some(Self { public: point(p256dh)?, auth: bytes(auth)? })
    }
}

/// Encrypts a message. `None` if the public key of the device is not one.
pub(super) fn encrypt(device: &DeviceKeys, plaintext: &[u8]) -> Option<Vec<u8>> {
    let mut salt = [0; SALT];
    rand::fill(&mut salt).ok()?;
    encrypt_with(device, plaintext, &PrivateKey::generate(&ECDH_P256).ok()?, salt).ok()
}

fn encrypt_with(
    device: &DeviceKeys,
    plaintext: &[u8],
    private: &PrivateKey,
    salt: [u8; SALT],
) -> Result<Vec<u8>, Unspecified> {
    let public = private.compute_public_key()?;
    let peer = UnparsedPublicKey::new(&ECDH_P256, &device.public);
    let combined =
        agree(private, peer, Unspecified, |secret| Ok(Salt::new(HKDF_SHA256, &device.auth).extract(secret)))?;
    let input: [u8; 32] = expand(&combined, &[b"WebPush: info\0", &device.public, public.as_ref()])?;
    let record = Salt::new(HKDF_SHA256, &salt).extract(&input);
    let key: [u8; 16] = expand(&record, &[b"Content-Encoding: aes128gcm\0"])?;
    let nonce: [u8; NONCE_LEN] = expand(&record, &[b"Content-Encoding: nonce\0"])?;

    let mut sealed = [plaintext, &[LAST]].concat();
    LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &key)?).seal_in_place_append_tag(
        Nonce::assume_unique_for_key(nonce),
        Aad::empty(),
        &mut sealed,
    )?;
    let length = u8::try_from(public.as_ref().len()).map_err(|_| Unspecified)?;
    Ok([&salt[..], &RECORD_SIZE.to_be_bytes(), &[length], public.as_ref(), &sealed[..]].concat())
}

/// The length of the output of HKDF.
struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand<const N: usize>(key: &Prk, info: &[&[u8]]) -> Result<[u8; N], Unspecified> {
    let mut output = [0; N];
    key.expand(info, Length(N))?.fill(&mut output)?;
    Ok(output)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};

    use super::*;

    /// RFC 8291, section 5 and appendix A.
    #[test]
    fn the_example_of_the_specification_is_encrypted_byte_for_byte() {
        let device = DeviceKeys::parse(
            "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4",
            "BTBZMqHH6r4Tts7J_aSIgg",
        )
        .unwrap();
        let private: [u8; 32] = bytes("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw").unwrap();
        let private = PrivateKey::from_private_key(&ECDH_P256, &private).unwrap();
        let salt = bytes("DGv6ra1nlYgDCS1FRnbzlw").unwrap();
        let message = encrypt_with(&device, b"When I grow up, I want to be a watermelon", &private, salt).unwrap();
        assert_eq!(
            BASE64_URL_SAFE_NO_PAD.encode(message),
            "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT\
             pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
        );
    }

    #[test]
    fn a_key_that_is_no_point_of_the_curve_encrypts_nothing() {
        let off_the_curve = format!("B{}", "A".repeat(86));
        let device = DeviceKeys::parse(&off_the_curve, "BTBZMqHH6r4Tts7J_aSIgg").unwrap();
        assert!(encrypt(&device, b"").is_none());
        assert!(DeviceKeys::parse("", "BTBZMqHH6r4Tts7J_aSIgg").is_none());
    }
}
