//! When a certificate runs out: the one thing of it that an operator has to know in time.

/// The end of a certificate's validity in seconds since 1970; `None`: this is not a certificate as RFC 5280 has it.
pub fn not_after(der: &[u8]) -> Option<i64> {
    let (certificate, _) = take(der, SEQUENCE)?;
    let (mut rest, _) = take(certificate, SEQUENCE)?;
    // RFC 5280, 4.1: the version is left out where it is 1; then serial number, algorithm and issuer.
    if rest.first() == Some(&VERSION) {
        rest = take(rest, VERSION)?.1;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        rest = take(rest, tag)?.1;
    }
    let (validity, _) = take(rest, SEQUENCE)?;
    let (_, _, rest) = element(validity)?;
    let (tag, text, _) = element(rest)?;
    time(tag, text)
}

/// The content of an element of this kind, and what comes behind it.
fn take(bytes: &[u8], wanted: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == wanted).then_some((content, rest))
}

fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    // X.690, 8.1.3: up to 127 as it is, else the number of bytes that say it.
    let (len, rest) = match first {
        0..=0x7f => (first as usize, rest),
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked((first & 0x7f) as usize)?;
            (digits.iter().fold(0, |len, &digit| len << 8 | digit as usize), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// RFC 5280, 4.1.2.5: `YYMMDDHHMMSSZ` up to 2049, then `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?.strip_suffix('Z')?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i64 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    if rest.len() != 10 {
        return None;
    }
    let [month, day, hour, minute, second] =
        [0, 2, 4, 6, 8].map(|at| rest[at..at + 2].parse::<i64>().unwrap_or_default());
    Some((days(year, month, day) * 24 + hour) * 3600 + minute * 60 + second)
}

/// Days since 1970 in the calendar that we have. The year begins in March here, so that a leap day is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let before = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    before + (153 * month + 2) / 5 + day - 1 - DAYS_TO_1970
}

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
/// From March of the year 0.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(year, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_says_when_it_runs_out() {
        // As `date -u +%s` has it.
        for (year, month, day, seconds) in [
            (2026, 11, 26, 1_795_651_200),
            (2000, 2, 29, 951_782_400),
            (2024, 3, 1, 1_709_251_200),
            (1999, 12, 31, 946_598_400),
            (2049, 12, 31, 2_524_521_600),
            (2050, 1, 1, 2_524_608_000),
            (4096, 1, 1, 67_090_118_400),
        ] {
            assert_eq!(not_after(&certificate(year, month, day)), Some(seconds), "{year}-{month}-{day}");
        }
        assert_eq!(time(UTC_TIME, b"700101000001Z"), Some(1));
    }

    #[test]
    fn what_is_no_certificate_says_nothing() {
        let whole = certificate(2026, 1, 1);
        for len in 0..whole.len() {
            assert_eq!(not_after(&whole[..len]), None, "{len} bytes");
        }
        for text in [&b"20260101000000"[..], b"2026Z", b"2026010100000\xffZ", b"20260101\xc3\xa90000Z", b""] {
            assert_eq!(time(GENERALIZED_TIME, text), None);
        }
    }
}
