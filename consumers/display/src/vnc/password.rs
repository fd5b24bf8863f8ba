//! VNC authentication (RFC 6143 section 7.2.2).

use std::fmt;

use des::Des;
use des::cipher::BlockCipherEncrypt;
use des::cipher::KeyInit;

use super::error::PasswordError;

/// Bytes of a challenge and of its response.
pub(super) const CHALLENGE: usize = 16;
/// What DES takes at once, and as its key.
const BLOCK: usize = 8;
/// Letters and digits that nobody mistakes for each other: 32, so that each takes 5 random bits.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// A password of VNC authentication: up to 8 bytes. Its 56 bits of DES keep out those who pass by,
/// and nothing that is sent is encrypted.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; BLOCK]);

impl Password {
    /// This one.
    ///
    /// # Errors
    ///
    /// See [`PasswordError`]. Other software takes longer ones and looks at the first 8 bytes.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        let bytes = text.as_bytes();
        let mut key = [0; BLOCK];
        match bytes.len() {
            0 => Err(PasswordError::Empty),
            len @ 1..=BLOCK => {
                key[..len].copy_from_slice(bytes);
                Ok(Self(key))
            }
            len => Err(PasswordError::Long { len }),
        }
    }

    /// A new one of 40 random bits, and its text.
    ///
    /// # Errors
    ///
    /// The kernel has no random bytes.
    pub fn generate() -> Result<(Self, String), rustix::io::Errno> {
        let letters = random::<BLOCK>()?.map(|byte| ALPHABET[usize::from(byte) % ALPHABET.len()]);
        Ok((Self(letters), letters.map(char::from).iter().collect()))
    }

    /// Whether `response` is that of somebody who knows it. Takes the same time either way.
    pub(super) fn admits(&self, challenge: [u8; CHALLENGE], response: [u8; CHALLENGE]) -> bool {
        let expected = self.response(challenge);
        let differing = expected.iter().zip(response).map(|(a, b)| a ^ b);
        differing.fold(0, |all, bits| all | bits) == 0
    }

    /// The challenge, encrypted with DES. Each byte of the key has its bits in reverse order, which
    /// RFC 6143 does not say and every implementation does (its erratum 4951).
    fn response(&self, challenge: [u8; CHALLENGE]) -> [u8; CHALLENGE] {
        let des = Des::new(&self.0.map(u8::reverse_bits).into());
        let mut response = challenge;
        for block in response.as_chunks_mut::<BLOCK>().0 {
            let mut encrypted = (*block).into();
            des.encrypt_block(&mut encrypted);
            *block = encrypted.into();
        }
        response
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// Bytes that nobody can foresee.
pub(super) fn random<const LEN: usize>() -> Result<[u8; LEN], rustix::io::Errno> {
    let mut bytes = [0; LEN];
    let mut done = 0;
    while done < LEN {
        match rustix::rand::getrandom(&mut bytes[done..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_is_des_with_the_bits_of_each_key_byte_reversed() {
        // Key 01 23 45 67 89 ab cd ef encrypts "Now is the time " to this (FIPS 81, table B1).
        let key = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];
        let password = Password(key.map(u8::reverse_bits));
        let response = password.response(*b"Now is the time ");
        let expected = [
            0x3f, 0xa4, 0x0e, 0x8a, 0x98, 0x4d, 0x48, 0x15, 0x6a, 0x27, 0x17, 0x87, 0xab, 0x88,
            0x83, 0xf9,
        ];
        assert_eq!(response, expected);
        assert!(password.admits(*b"Now is the time ", expected));
    }

    #[test]
    fn each_bit_of_the_response_counts() {
        let password = Password::new("secret").unwrap();
        let challenge = [7; CHALLENGE];
        let response = password.response(challenge);
        for bit in 0..CHALLENGE * 8 {
            let mut wrong = response;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!password.admits(challenge, wrong));
        }
    }

    #[test]
    fn password_has_one_to_eight_bytes() {
        assert_eq!(Password::new(""), Err(PasswordError::Empty));
        Password::new("12345678").unwrap();
        let long = Password::new("123456789");
        assert_eq!(long, Err(PasswordError::Long { len: 9 }));
    }

    #[test]
    fn generated_passwords_differ_and_their_text_makes_the_same() {
        let (first, text) = Password::generate().unwrap();
        let (second, _) = Password::generate().unwrap();
        assert_ne!(first, second);
        assert_eq!(Password::new(&text).unwrap(), first);
    }

    #[test]
    fn debug_does_not_tell_it() {
        let password = Password::new("secret").unwrap();
        assert_eq!(format!("{password:?}"), "Password");
    }
}
