//! That each version of RFB is spoken as it is.

use super::*;
use crate::vnc::password::Password;

/// What viewers of this version and the same words are answered.
fn offered(
    version: &str,
    refusal: Option<ProtocolError>,
) -> Result<Vec<u8>, (ProtocolError, Vec<u8>)> {
    let mut session = Session::new(terms(Security::None), &mut Vec::new());
    session.set_refusal(refusal);
    answer(&mut session, version.as_bytes())
}

fn secret() -> Security {
    Security::Password(Password::new("secret").unwrap())
}

#[test]
fn password_lets_in_who_knows_it_and_tells_who_does_not() {
    let password = Password::new("secret").unwrap();
    let session = || {
        let terms = terms(Security::Password(password.clone()));
        let mut session = Session::new(terms, &mut Vec::new());
        let challenge = answer(&mut session, b"RFB 003.008\n\x02").unwrap();
        assert_eq!(challenge, [&[1, 2][..], &[7; CHALLENGE]].concat());
        session
    };
    let response = crate::vnc::testing::response("secret", [7; CHALLENGE]);
    assert_eq!(answer(&mut session(), &response).unwrap(), [0; 4]);

    let mut wrong = response;
    wrong[0] ^= 1;
    let (error, out) = answer(&mut session(), &wrong).unwrap_err();
    assert_eq!(error, ProtocolError::Password);
    assert_eq!(out, b"\0\0\0\x01\0\0\0\x0ewrong password");
}

#[test]
fn who_chooses_another_security_or_comes_while_locked_out_is_told() {
    let mut session = Session::new(terms(Security::None), &mut Vec::new());
    let (error, out) = answer(&mut session, b"RFB 003.008\n\x02").unwrap_err();
    assert_eq!(error, ProtocolError::Security { wanted: 2 });
    assert_eq!(out[..6], [1, 1, 0, 0, 0, 1]);

    let mut locked = Session::new(terms(Security::None), &mut Vec::new());
    locked.set_refusal(Some(ProtocolError::LockedOut));
    let (error, out) = answer(&mut locked, b"RFB 003.008\n").unwrap_err();
    assert_eq!(error, ProtocolError::LockedOut);
    assert_eq!(out[0], 0);
}

#[test]
fn versions_are_spoken_as_3_3_3_7_or_3_8_and_anything_else_is_none() {
    for version in [
        "RFB 003.007\n",
        "RFB 003.008\n",
        "RFB 003.889\n",
        "RFB 004.001\n",
    ] {
        assert_eq!(offered(version, None).unwrap(), [1, 1]);
    }
    // Some said 3.4 or 3.5 and spoke 3.3.
    for version in ["RFB 003.003\n", "RFB 003.005\n", "RFB 003.006\n"] {
        assert_eq!(offered(version, None).unwrap(), [0, 0, 0, 1]);
    }
    for version in [
        "GET / HTTP/1",
        "RFB 003.+08\n",
        "RFB 002.008\n",
        "RFB 003x008\n",
    ] {
        let (error, out) = offered(version, None).unwrap_err();
        assert_eq!((error, out.len()), (ProtocolError::Version, 0));
    }
}

#[test]
fn viewer_of_each_version_comes_to_its_picture() {
    let screen = screen(SIZE.0, SIZE.1);
    // What it sends behind its version, and what it is answered.
    for (version, choice, expected) in [
        ("RFB 003.003\n", &[][..], &[0, 0, 0, 1][..]),
        ("RFB 003.007\n", &[1], &[1, 1]),
        ("RFB 003.008\n", &[1], &[1, 1, 0, 0, 0, 0]),
    ] {
        let mut session = Session::new(terms(Security::None), &mut Vec::new());
        let mut bytes = [version.as_bytes(), choice].concat();
        // Byte by byte, then ClientInit.
        bytes.push(1);
        let mut out = Vec::new();
        for byte in bytes {
            assert!(!session.is_running());
            out.extend(answer(&mut session, &[byte]).unwrap());
        }
        assert_eq!(out, expected, "{version}");
        assert!(session.is_running());
        session.fill(&screen, &mut Vec::new()).unwrap();
        assert!(received(&mut session, &screen, &[]).frame(SIZE.0, SIZE.1) == *screen.frame);
    }
}

#[test]
fn password_is_asked_for_in_each_version_and_the_older_ones_are_told_no_reason() {
    let challenge = &[7; CHALLENGE][..];
    let right = crate::vnc::testing::response("secret", [7; CHALLENGE]);
    let why = b"\0\0\0\x01\0\0\0\x0ewrong password";
    for (version, choice, asked, refused) in [
        ("RFB 003.003\n", &[][..], &[0, 0, 0, 2][..], &why[..4]),
        ("RFB 003.007\n", &[2], &[1, 2], &why[..4]),
        ("RFB 003.008\n", &[2], &[1, 2], why),
    ] {
        let session = || {
            let mut session = Session::new(terms(secret()), &mut Vec::new());
            let out = answer(&mut session, &[version.as_bytes(), choice].concat()).unwrap();
            assert_eq!(out, [asked, challenge].concat(), "{version}");
            session
        };
        assert_eq!(answer(&mut session(), &right).unwrap(), [0; 4]);
        let (error, out) = answer(&mut session(), &[0; CHALLENGE]).unwrap_err();
        assert_eq!((error, &*out), (ProtocolError::Password, refused));
    }
}

#[test]
fn viewer_that_is_locked_out_is_told_so_in_the_words_of_its_version() {
    let text = [
        &[0, 0, 0, 40][..],
        ProtocolError::LockedOut.to_string().as_bytes(),
    ]
    .concat();
    let len = u32::try_from(text.len() - 4).unwrap().to_be_bytes();
    for (version, none) in [
        ("RFB 003.003\n", &[0; 4][..]),
        ("RFB 003.007\n", &[0]),
        ("RFB 003.008\n", &[0]),
    ] {
        let (error, out) = offered(version, Some(ProtocolError::LockedOut)).unwrap_err();
        assert_eq!(error, ProtocolError::LockedOut);
        assert_eq!(out, [none, &len, &text[4..]].concat(), "{version}");
    }
}

#[test]
fn password_is_not_looked_at_if_others_failed_since_it_was_asked_for() {
    let right = crate::vnc::testing::response("secret", [7; CHALLENGE]);
    let mut session = Session::new(terms(secret()), &mut Vec::new());
    answer(&mut session, b"RFB 003.008\n\x02").unwrap();

    session.set_refusal(Some(ProtocolError::LockedOut));
    let (error, out) = answer(&mut session, &right).unwrap_err();

    assert_eq!(error, ProtocolError::LockedOut);
    assert_eq!(out[..4], [0, 0, 0, 1]);
    assert!(out.ends_with(error.to_string().as_bytes()));
}

#[test]
fn viewer_that_is_let_in_is_turned_away_if_the_last_place_was_taken_meanwhile() {
    let session = |refusal| {
        let mut session = Session::new(terms(Security::None), &mut Vec::new());
        answer(&mut session, b"RFB 003.008\n\x01").unwrap();
        session.set_refusal(Some(refusal));
        let answered = answer(&mut session, &[1]);
        (answered, session.is_running())
    };
    let full = ProtocolError::Full;
    assert_eq!(session(full), (Err((full, Vec::new())), false));
    // Passwords that others got wrong do not concern who was let in.
    assert_eq!(session(ProtocolError::LockedOut), (Ok(Vec::new()), true));
}

#[test]
fn viewer_of_3_7_that_chooses_what_was_not_offered_is_told_no_reason() {
    let (error, out) = offered("RFB 003.007\n\x02", None).unwrap_err();
    assert_eq!(error, ProtocolError::Security { wanted: 2 });
    assert_eq!(out, [1, 1, 0, 0, 0, 1]);
}
