//! Sessions of browsers: a cookie that is a random number, and who it stands for in this process's memory.
//!
//! In scope: the cookies' form, how long a session lasts, how many there are. Out of scope: how one comes about
//! (`signin`). Trust: a cookie is a stranger's until a session has its hash. Sessions are looked up by hash, so the
//! time it takes says nothing about another one's number; a memory that leaks gives no number away. They end with the
//! process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::{HeaderMap, HeaderValue, header};
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest, Sha256};
use sharetrail_ledger::{LedgerError, files};
use tokio::sync::watch;

use super::oidc::Verified;

/// How long a session lasts at most.
const SESSION_SECONDS: u64 = 8 * 60 * 60;
/// How long one lasts that nobody uses; and at least, since some providers' ID tokens end after minutes.
const IDLE_SECONDS: u64 = 30 * 60;
/// Sessions at once.
const SESSIONS_MAX: usize = 100_000;
/// Sessions of one person at once: nobody can push the others out.
const SESSIONS_EACH: usize = 16;

/// One of the two cookies that this server sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cookie {
    name: &'static str,
    is_secure: bool,
}

impl Cookie {
    /// Who somebody is. With TLS, browsers hold the prefix `__Host-` to what it says: no other host set it.
    pub(super) fn session(is_secure: bool) -> Self {
        let name = if is_secure {
            "__Host-sharetrail"
        } else {
            "sharetrail"
        };
        Self { name, is_secure }
    }

    /// Which browser a sign-in was begun in.
    pub(super) fn sign_in(is_secure: bool) -> Self {
        let name = if is_secure {
            "__Host-sharetrail-signin"
        } else {
            "sharetrail-signin"
        };
        Self { name, is_secure }
    }

    /// What a browser sent. Two of a name are none: it cannot be told who set them.
    pub(super) fn find(self, headers: &HeaderMap) -> Option<&str> {
        let sent = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let pairs = sent.flat_map(|line| line.split(';'));
        let mut ours = pairs.filter_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == self.name).then_some(value)
        });
        match (ours.next(), ours.next()) {
            (Some(value), None) => Some(value),
            _ => None,
        }
    }

    /// The header that sets it. It goes with the browser's own session.
    pub(super) fn set(self, value: &str) -> HeaderValue {
        self.header(value, "")
    }

    /// The header that takes it away.
    pub(super) fn clear(self) -> HeaderValue {
        self.header("", "; Max-Age=0")
    }

    fn header(self, value: &str, rest: &str) -> HeaderValue {
        let secure = if self.is_secure { "; Secure" } else { "" };
        let text = format!(
            "{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{rest}",
            self.name
        );
        HeaderValue::try_from(text).expect("names and values are letters, digits, '-', '_' and '.'")
    }
}

/// A session that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) who: Arc<Verified>,
    /// What this session's forms carry.
    pub(super) csrf: Arc<str>,
    /// When the session ends at the latest, in Unix seconds.
    pub(super) ends: u64,
    /// Tells when it has ended.
    pub(super) end: SessionEnd,
}

/// Tells that a session has ended, however it came to that: by signing out, by signing in anew, by too many others.
#[derive(Clone, Debug)]
pub(crate) struct SessionEnd(watch::Receiver<()>);

impl SessionEnd {
    /// Waits until the session has ended.
    pub(crate) async fn come(&mut self) {
        // Nothing is ever sent: the session has the other end, which goes with it.
        while self.0.changed().await.is_ok() {}
    }
}

struct Session {
    found: Found,
    /// In Unix seconds.
    used: u64,
    /// Whoever waits for the end hears of it when this is dropped.
    _end: watch::Sender<()>,
}

impl Session {
    fn is_over(&self, now: u64) -> bool {
        now >= self.found.ends || now >= self.used.saturating_add(IDLE_SECONDS)
    }
}

/// The sessions of one server, by the hash of the number in the cookie.
#[derive(Default)]
pub(super) struct Sessions {
    held: Mutex<HashMap<[u8; 32], Session>>,
}

impl Sessions {
    /// Begins a session, and gives the number for its cookie.
    pub(super) fn begin(&self, who: Verified, now: u64) -> Result<String, LedgerError> {
        let number = BASE64URL_NOPAD.encode(&files::random::<32>()?);
        let csrf = BASE64URL_NOPAD.encode(&files::random::<32>()?);
        let ends = who
            .ends
            .max(now.saturating_add(IDLE_SECONDS))
            .min(now.saturating_add(SESSION_SECONDS));
        let mut held = self.held();
        held.retain(|_, session| !session.is_over(now));
        make_room(&mut held, &who.account);
        let (sender, end) = watch::channel(());
        let session = Session {
            found: Found {
                who: Arc::new(who),
                csrf: csrf.into(),
                ends,
                end: SessionEnd(end),
            },
            used: now,
            _end: sender,
        };
        held.insert(hash(&number), session);
        Ok(number)
    }

    /// The session of a number, which counts as used then.
    pub(super) fn find(&self, number: &str, now: u64) -> Option<Found> {
        let hash = hash(number);
        let mut held = self.held();
        let session = held.get_mut(&hash)?;
        if session.is_over(now) {
            held.remove(&hash);
            return None;
        }
        session.used = now;
        Some(session.found.clone())
    }

    /// Ends a session, if there is one.
    pub(super) fn end(&self, number: &str) {
        self.held().remove(&hash(number));
    }

    fn held(&self) -> MutexGuard<'_, HashMap<[u8; 32], Session>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hash(number: &str) -> [u8; 32] {
    Sha256::digest(number.as_bytes()).into()
}

/// Ends the sessions that were not used for longest, of this person and of all, where there would be too many.
fn make_room(held: &mut HashMap<[u8; 32], Session>, account: &str) {
    let mut own: Vec<_> = held
        .iter()
        .filter(|(_, session)| session.found.who.account == account)
        .map(|(hash, session)| (session.used, *hash))
        .collect();
    own.sort_unstable();
    let too_many = (own.len() + 1).saturating_sub(SESSIONS_EACH);
    for (_, hash) in own.iter().take(too_many) {
        held.remove(hash);
    }
    if held.len() >= SESSIONS_MAX
        && let Some(oldest) = held
            .iter()
            .min_by_key(|(_, session)| session.used)
            .map(|(hash, _)| *hash)
    {
        held.remove(&oldest);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const SOON: Duration = Duration::from_secs(30);

    fn who(account: &str, ends: u64) -> Verified {
        Verified {
            account: account.to_owned(),
            customer: Some(account.to_owned()),
            is_officer: false,
            name: None,
            ends,
        }
    }

    fn sent(lines: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        headers
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let find = |lines: &[&'static str]| {
            let headers = sent(lines);
            Cookie::session(false).find(&headers).map(str::to_owned)
        };
        assert_eq!(find(&["a=b; sharetrail=17; c=d"]).as_deref(), Some("17"));
        assert_eq!(find(&["a=b", "sharetrail=17"]).as_deref(), Some("17"));
        assert_eq!(find(&["sharetrail-signin=17; xsharetrail=18"]), None);
        assert_eq!(find(&[]), None);
    }

    /// The fault: another host of the same domain plants a cookie beside ours, and which of them counts is chance.
    #[test]
    fn two_cookies_of_a_name_are_none() {
        let headers = sent(&["sharetrail=17; sharetrail=18"]);
        assert_eq!(Cookie::session(false).find(&headers), None);
        let headers = sent(&["sharetrail=17", "sharetrail=17"]);
        assert_eq!(Cookie::session(false).find(&headers), None);
    }

    #[test]
    fn a_cookie_is_for_this_host_and_no_script() {
        let open = Cookie::session(false).set("17");
        assert_eq!(open, "sharetrail=17; Path=/; HttpOnly; SameSite=Lax");
        let secure = Cookie::session(true).set("17");
        assert_eq!(
            secure,
            "__Host-sharetrail=17; Path=/; HttpOnly; SameSite=Lax; Secure"
        );
        let gone = Cookie::sign_in(true).clear();
        assert_eq!(
            gone,
            "__Host-sharetrail-signin=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0"
        );
    }

    /// The fault: a cookie that was left in a browser opens the trail the next day.
    #[test]
    fn a_session_ends_by_itself() {
        let sessions = Sessions::default();
        let number = sessions.begin(who("a", NOW + 100_000), NOW).unwrap();
        assert_eq!(sessions.find(&number, NOW + 60).unwrap().who.account, "a");
        assert!(sessions.find(&number, NOW + 60 + IDLE_SECONDS).is_none());
        // Used all the time, it ends after eight hours.
        let number = sessions.begin(who("a", NOW + 100_000), NOW).unwrap();
        for minute in (0..SESSION_SECONDS / 60).step_by(10) {
            assert!(sessions.find(&number, NOW + 60 * minute).is_some());
        }
        assert!(sessions.find(&number, NOW + SESSION_SECONDS).is_none());
        // It ends with the token, though not before a form is filled in.
        let number = sessions.begin(who("a", NOW + 3_600), NOW).unwrap();
        assert!(sessions.find(&number, NOW + 1_700).is_some());
        assert!(sessions.find(&number, NOW + 3_400).is_some());
        assert!(sessions.find(&number, NOW + 3_600).is_none());
        let number = sessions.begin(who("a", NOW + 60), NOW).unwrap();
        assert!(sessions.find(&number, NOW + 1_700).is_some());
        assert!(sessions.find(&number, NOW + 1_800).is_none());
    }

    #[test]
    fn a_session_is_found_by_its_own_number_alone() {
        let sessions = Sessions::default();
        let a = sessions.begin(who("a", NOW), NOW).unwrap();
        let b = sessions.begin(who("b", NOW), NOW).unwrap();
        assert_ne!(a, b);
        assert_eq!(sessions.find(&b, NOW).unwrap().who.account, "b");
        assert_ne!(
            sessions.find(&a, NOW).unwrap().csrf,
            sessions.find(&b, NOW).unwrap().csrf
        );
        assert!(sessions.find("", NOW).is_none());
        assert!(sessions.find(&a[1..], NOW).is_none());
        sessions.end(&a);
        assert!(sessions.find(&a, NOW).is_none());
        assert!(sessions.find(&b, NOW).is_some());
    }

    /// The fault: what a session opened goes on after it was ended, or ends with another session.
    #[tokio::test]
    async fn whoever_waits_for_the_end_of_a_session_is_told() {
        let sessions = Sessions::default();
        let begin = |account, now| sessions.begin(who(account, NOW), now).unwrap();
        let end_of = |number: &str| sessions.find(number, NOW).unwrap().end;
        let (left, pushed_out, kept) = (begin("a", NOW), begin("a", NOW), begin("b", NOW));
        let mut waiting = [end_of(&left), end_of(&pushed_out), end_of(&kept)];
        sessions.end(&left);
        timeout(SOON, waiting[0].come()).await.unwrap();
        assert!(timeout(Duration::ZERO, waiting[1].come()).await.is_err());
        for _ in 0..SESSIONS_EACH {
            begin("a", NOW + 1);
        }
        timeout(SOON, waiting[1].come()).await.unwrap();
        assert!(timeout(Duration::ZERO, waiting[2].come()).await.is_err());
    }

    /// The fault: somebody signs in over and over until the server has no memory left, or nobody else a session.
    #[test]
    fn one_person_has_so_many_sessions() {
        let sessions = Sessions::default();
        let other = sessions.begin(who("other", NOW), NOW).unwrap();
        let begun: Vec<_> = (0..40)
            .map(|second| sessions.begin(who("a", NOW), NOW + second).unwrap())
            .collect();
        let now = NOW + 40;
        let open = begun.iter().filter(|number| sessions.find(number, now).is_some());
        assert_eq!(open.count(), SESSIONS_EACH);
        assert!(sessions.find(&begun[39], now).is_some());
        assert!(sessions.find(&other, now).is_some());
    }
}
