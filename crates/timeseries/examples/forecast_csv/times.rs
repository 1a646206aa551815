//! Time stamps: years first, as ISO 8601 writes them, without a library of calendars.

/// Seconds since 1 January 1970 of `2024-03-01`, `2024-03-01 12:30`, `2024/03/01T12:30:15.5Z`, …; an offset from UTC is subtracted, and without one the time is taken as it stands. `None` for
/// anything else.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    let separator = if text.as_bytes().get(4)? == &b'/' { '/' } else { '-' };
    let mut date = text.get(..10)?.split(separator);
    let (year, month, day) = (digits(date.next()?, 4)?, digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    if date.next().is_some() || !(1..=12).contains(&month) || day < 1 || day > days_of(year, month) {
        return None;
    }
    let midnight = 86_400 * days(year, month, day);
    let Some(clock) = text.get(10..).filter(|clock| !clock.is_empty()) else { return Some(midnight) };
    let clock = clock.strip_prefix(['T', 't', ' '])?.trim_start();
    let (clock, offset) = match clock.find(['Z', 'z', '+', '-']) {
        Some(at) => (clock[..at].trim_end(), offset(&clock[at..])?),
        None => (clock, 0),
    };
    let mut parts = clock.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    let second = match parts.next() {
        None => 0,
        Some(seconds) => {
            let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
            // steps are whole seconds: a fraction must be zero
            if fraction.is_empty() || !fraction.bytes().all(|digit| digit == b'0') {
                return None;
            }
            digits(whole, 2)?
        }
    };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    Some(midnight + 3600 * hour + 60 * minute + second - offset)
}

fn digits(text: &str, count: usize) -> Option<i64> {
    (text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// `Z`, `+01`, `+0100`, `+01:00`, in seconds.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let text = text.get(1..)?;
    let (hours, minutes) = match text.len() {
        2 => (digits(text, 2)?, 0),
        4 => (digits(text.get(..2)?, 2)?, digits(text.get(2..)?, 2)?),
        5 if text.as_bytes()[2] == b':' => (digits(text.get(..2)?, 2)?, digits(text.get(3..)?, 2)?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (3600 * hours + 60 * minutes))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1 January 1970 in the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = |year: i64| 365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    let of_months: i64 = (1..month).map(|month| days_of(year, month)).sum();
    before(year - 1) - before(1969) + of_months + day - 1
}

/// `2024-03-01T12:30:15` of seconds since 1970.
pub(crate) fn format(seconds: i64) -> String {
    let (day, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    // never too late: years have at most 366 days, and before 1970 at least 365
    let mut year = 1970 + day.div_euclid(if day >= 0 { 366 } else { 365 });
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    let date = day - days(year, month, 1) + 1;
    format!("{year:04}-{month:02}-{date:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}
