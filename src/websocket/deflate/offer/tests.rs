use super::*;
use crate::http::{RequestHead, ResponseHead};

/// Each line is a field of its own.
fn fields(lines: &[&str]) -> String {
    let lines = lines.iter().map(|line| format!("Sec-WebSocket-Extensions: {line}\r\n"));
    format!("Host: x\r\n{}\r\n", lines.collect::<String>())
}

/// What a server answers to these offers; `Err`: they are no list.
fn answer_to(lines: &[&str], terms: Terms) -> Result<Option<String>, Malformed> {
    let request = format!("GET / HTTP/1.1\r\n{}", fields(lines));
    let (head, _) = RequestHead::parse(request.as_bytes()).unwrap().unwrap();
    check(&head.headers)?;
    Ok(accept(&head.headers, terms).map(|agreement| agreement.to_string()))
}

fn answer(line: &str) -> Option<String> {
    answer_to(&[line], Terms::AsOffered).unwrap()
}

/// What a client makes of this answer to its offer.
fn heard(offer: Offer, lines: &[&str]) -> Result<Option<Agreement>, NotOffered> {
    let response = format!("HTTP/1.1 101 x\r\n{}", fields(lines));
    let (head, _) = ResponseHead::parse(response.as_bytes()).unwrap().unwrap();
    offer.check(&head.headers)
}

fn way(takeover: bool, window_bits: u8) -> Way {
    Way { takeover, window_bits }
}

#[test]
fn the_examples_of_the_rfc_are_answered() {
    // RFC 7692, 7.1: the simplest offer, and one that prefers the server to use a smaller window.
    assert_eq!(answer("permessage-deflate").unwrap(), "permessage-deflate");
    assert_eq!(
        answer("permessage-deflate; client_max_window_bits; server_max_window_bits=10").unwrap(),
        "permessage-deflate; server_max_window_bits=10"
    );
    // RFC 7692, 7.1.3: the same with a plain offer to fall back to.
    assert_eq!(
        answer("permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate; client_max_window_bits")
            .unwrap(),
        "permessage-deflate; server_max_window_bits=10"
    );
    // What browsers say.
    assert_eq!(answer("permessage-deflate; client_max_window_bits").unwrap(), "permessage-deflate");
}

#[test]
fn each_parameter_is_answered_as_the_rfc_has_it() {
    for (offer, expected) in [
        ("; server_no_context_takeover", "; server_no_context_takeover"),
        ("; client_no_context_takeover", "; client_no_context_takeover"),
        ("; server_max_window_bits=9", "; server_max_window_bits=9"),
        ("; server_max_window_bits=\"15\"", "; server_max_window_bits=15"),
        ("; client_max_window_bits=8", "; client_max_window_bits=8"),
        ("; client_max_window_bits=\"1\\0\"", "; client_max_window_bits=10"),
        (
            ";client_max_window_bits = 12 ;\tclient_no_context_takeover; server_max_window_bits=11;server_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; client_max_window_bits=12",
        ),
    ] {
        assert_eq!(
            answer(&format!("permessage-deflate{offer}")).unwrap(),
            format!("permessage-deflate{expected}")
        );
    }
}

#[test]
fn a_server_that_keeps_nothing_says_so_unasked() {
    let answer = |line| answer_to(&[line], Terms::NoTakeover).unwrap().unwrap();
    let fresh = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";
    assert_eq!(answer("permessage-deflate"), fresh);
    assert_eq!(answer("permessage-deflate; client_max_window_bits"), fresh);
    assert_eq!(
        answer("permessage-deflate; server_max_window_bits=10"),
        format!("{fresh}; server_max_window_bits=10")
    );
}

#[test]
fn an_offer_that_is_not_understood_is_declined_and_the_next_one_taken() {
    for wrong in [
        "x",
        "Permessage-deflate",
        "permessage-deflate; x",
        "permessage-deflate; x=\"y\"",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; client_no_context_takeover=\"true\"",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=8",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=1\u{b2}",
        "permessage-deflate; server_max_window_bits=1+",
        "permessage-deflate; server_max_window_bits=10; server_max_window_bits=10",
        "permessage-deflate; client_max_window_bits=0",
        "permessage-deflate; client_max_window_bits=100000000000000000000",
        "permessage-deflate; client_max_window_bits; client_max_window_bits=9",
    ] {
        if wrong.is_ascii() {
            assert_eq!(answer(wrong), None, "{wrong}");
            let fallback = "permessage-deflate; client_no_context_takeover";
            assert_eq!(answer(&format!("{wrong}, {fallback}")).unwrap(), fallback, "{wrong}");
            assert_eq!(
                answer_to(&[wrong, fallback], Terms::AsOffered).unwrap().unwrap(),
                fallback,
                "{wrong}"
            );
        } else {
            assert_eq!(answer_to(&[wrong], Terms::AsOffered), Err(Malformed), "{wrong}");
        }
    }
    assert_eq!(answer_to(&[], Terms::AsOffered), Ok(None));
}

#[test]
fn what_is_no_list_of_extensions_is_told_from_an_unknown_one() {
    for fine in ["", ",", "x,,y", "x; a; b=c; d=\"e\"", " x ; a = b , y "] {
        assert_eq!(answer_to(&[fine], Terms::AsOffered), Ok(None), "{fine:?}");
    }
    for broken in [
        ";",
        "x;",
        "x; =",
        "x; a=",
        "x; a=\"",
        "x; a=\"\"",
        "x; a=\"b",
        "x; a=\"b c\"",
        "x; a=\"b\\\"",
        "x; a=\"b\\\"\"",
        "x y",
        "x; a b",
        "x; a=b c",
        "x; a=b=c",
        "x/1",
        "x; a=\"b\"c",
        "permessage-deflate, ;",
        "permessage-deflate; ;;=",
        "\u{e9}",
    ] {
        assert_eq!(answer_to(&[broken], Terms::AsOffered), Err(Malformed), "{broken:?}");
        assert_eq!(
            answer_to(&["permessage-deflate", broken], Terms::AsOffered),
            Err(Malformed),
            "{broken:?}"
        );
    }
}

#[test]
fn a_client_hears_what_was_agreed_on() {
    let plain = Offer::default();
    let bits = Offer { client_max_window_bits: true, server_max_window_bits: Some(10), ..plain };
    let fresh = Offer { server_no_context_takeover: true, client_no_context_takeover: true, ..plain };
    let agreed = |offer, line| {
        let agreement = heard(offer, &[line]).unwrap().unwrap();
        (agreement.server, agreement.client)
    };
    assert_eq!(agreed(plain, "permessage-deflate"), (way(true, 15), way(true, 15)));
    assert_eq!(
        agreed(
            plain,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=8"
        ),
        (way(false, 8), way(false, 15))
    );
    assert_eq!(
        agreed(bits, "permessage-deflate; server_max_window_bits=9; client_max_window_bits=\"11\""),
        (way(true, 9), way(true, 11))
    );
    assert_eq!(
        agreed(fresh, "permessage-deflate; server_no_context_takeover"),
        (way(false, 15), way(true, 15))
    );
    assert_eq!(heard(plain, &[]), Ok(None));
    assert_eq!(heard(plain, &[""]), Ok(None));
}

#[test]
fn a_client_refuses_what_it_did_not_offer() {
    let plain = Offer::default();
    let bits = Offer { client_max_window_bits: true, server_max_window_bits: Some(10), ..plain };
    let fresh = Offer { server_no_context_takeover: true, ..plain };
    for (offer, lines) in [
        (plain, &["x"][..]),
        (plain, &["permessage-deflate, x"]),
        (plain, &["permessage-deflate, permessage-deflate"]),
        (plain, &["permessage-deflate", "permessage-deflate"]),
        (plain, &["permessage-deflate; x"]),
        (plain, &["permessage-deflate; server_max_window_bits"]),
        (plain, &["permessage-deflate; server_max_window_bits=16"]),
        (plain, &["permessage-deflate; server_no_context_takeover; server_no_context_takeover"]),
        (plain, &["permessage-deflate; client_max_window_bits=10"]),
        (plain, &["permessage-deflate;"]),
        (bits, &["permessage-deflate"]),
        (bits, &["permessage-deflate; server_max_window_bits=11"]),
        (bits, &["permessage-deflate; server_max_window_bits=10; client_max_window_bits"]),
        (fresh, &["permessage-deflate; client_no_context_takeover"]),
    ] {
        assert_eq!(heard(offer, lines), Err(NotOffered), "{lines:?}");
    }
}

#[test]
fn an_offer_is_written_as_a_server_reads_it() {
    for (offer, text) in [
        (Offer::default(), "permessage-deflate"),
        (
            Offer { client_max_window_bits: true, ..Offer::default() },
            "permessage-deflate; client_max_window_bits",
        ),
        (
            Offer {
                server_no_context_takeover: true,
                client_no_context_takeover: true,
                server_max_window_bits: Some(12),
                client_max_window_bits: true,
            },
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12; client_max_window_bits",
        ),
    ] {
        assert_eq!(offer.to_string(), text);
        for terms in [Terms::AsOffered, Terms::NoTakeover] {
            let response = answer_to(&[text], terms).unwrap().unwrap();
            assert!(heard(offer, &[&response]).unwrap().is_some(), "{text} -> {response}");
        }
    }
}
