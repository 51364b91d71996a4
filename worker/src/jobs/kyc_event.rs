//! What a Sumsub event says. Its members are optional, unknown ones are ignored, and one of another JSON type is read as
//! what it can only mean; an event with a member that means nothing is nobody's decision to guess.

use chrono::{DateTime, NaiveDateTime, Utc};
use drop_common::domain::kyc::Decision;
use serde_json::{Map, Value};

/// The members that the rule reads. `null` is absent, and so is a text that is empty or that no column can hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) applicant_id: Option<String>,
    pub(super) external_user_id: Option<String>,
    pub(super) level_name: Option<String>,
    pub(super) sandbox: bool,
    pub(super) review_status: Option<String>,
    /// The event's own time, if it gives one that can be read.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) answer: Option<String>,
    pub(super) reject_type: Option<String>,
    pub(super) reject_labels: Vec<String>,
    /// What the person may be told (`moderationComment`); `clientComment` is not for them, and is not read.
    pub(super) comment: Option<String>,
}

/// A member of this name has a type that it cannot have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) &'static str);

impl Event {
    pub(super) fn read(raw: &[u8]) -> Result<Self, Unreadable> {
        let Ok(Value::Object(members)) = serde_json::from_slice(raw) else {
            return Err(Unreadable("the whole"));
        };
        let none = Map::new();
        let review = match members.get("reviewResult") {
            None | Some(Value::Null) => &none,
            Some(Value::Object(review)) => review,
            Some(_) => return Err(Unreadable("reviewResult")),
        };
        let at = match text(&members, "createdAtMs")? {
            Some(millis) => Some(millis),
            None => text(&members, "createdAt")?,
        };
        Ok(Self {
            kind: text(&members, "type")?.unwrap_or_default(),
            applicant_id: text(&members, "applicantId")?.filter(|id| id.len() <= 64),
            external_user_id: text(&members, "externalUserId")?,
            level_name: text(&members, "levelName")?,
            sandbox: truth(&members, "sandboxMode")?,
            review_status: text(&members, "reviewStatus")?,
            at: at.as_deref().and_then(time),
            answer: text(review, "reviewAnswer")?,
            reject_type: text(review, "reviewRejectType")?,
            reject_labels: texts(review, "rejectLabels")?,
            comment: review
                .get("moderationComment")
                .and_then(Value::as_str)
                .and_then(comment),
        })
    }

    /// What it decides, if anything.
    pub(super) fn decision(&self) -> Option<Decision> {
        Decision::of(
            &self.kind,
            self.review_status.as_deref(),
            self.answer.as_deref(),
            self.reject_type.as_deref(),
        )
    }
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, Unreadable> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone()).filter(|text| is_storable(text))),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Err(Unreadable(name)),
    }
}

fn is_storable(text: &str) -> bool {
    !text.is_empty() && !text.contains('\0')
}

fn truth(members: &Map<String, Value>, name: &'static str) -> Result<bool, Unreadable> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(truth)) => Ok(*truth),
        Some(Value::String(word)) => word.parse().map_err(|_| Unreadable(name)),
        Some(Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(Unreadable(name)),
    }
}

fn texts(members: &Map<String, Value>, name: &'static str) -> Result<Vec<String>, Unreadable> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(Some(text.clone())
            .filter(|text| is_storable(text))
            .into_iter()
            .collect()),
        // Labels are shown to nobody and decide nothing: one that is no text is left out.
        Some(Value::Array(entries)) => {
            let texts = entries.iter().filter_map(Value::as_str);
            Ok(texts.filter(|text| is_storable(text)).map(str::to_owned).collect())
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Err(Unreadable(name)),
    }
}

/// So much of a comment is kept, in characters.
const LONGEST_COMMENT: usize = 1_000;

/// It decides nothing: what is no text is left out, and so is what a screen should not be sent.
fn comment(text: &str) -> Option<String> {
    let shown = text.chars().filter(|&each| each == '\n' || !each.is_control());
    let shown: String = shown.take(LONGEST_COMMENT).collect();
    Some(shown.trim().to_owned()).filter(|shown| !shown.is_empty())
}

/// In the forms that Sumsub writes: ISO with Z, with `+0000`, without a zone in UTC; and as milliseconds since 1970. What lies
/// before that is no time of Sumsub's, and the database could not hold all of it.
pub(super) fn time(text: &str) -> Option<DateTime<Utc>> {
    let with_zone = || {
        DateTime::parse_from_rfc3339(text)
            .or_else(|_| DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%z"))
            .ok()
            .map(|at| at.to_utc())
    };
    let in_utc = || {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f")
            .ok()
            .map(|at| at.and_utc())
    };
    let millis = || DateTime::from_timestamp_millis(text.parse().ok()?);
    let at = with_zone().or_else(in_utc).or_else(millis)?;
    (at >= DateTime::UNIX_EPOCH).then_some(at)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: &Value) -> Result<Event, Unreadable> {
        Event::read(event.to_string().as_bytes())
    }

    #[test]
    fn the_contracts_event_is_read() {
        let event = json!({
            "type": "applicantReviewed", "applicantId": "5f9e1b2c", "externalUserId": "usr_1", "levelName": "basic-kyc-level",
            "sandboxMode": false, "reviewStatus": "completed", "createdAt": "2026-02-23T10:00:00.000Z",
            "reviewResult": { "reviewAnswer": "RED", "rejectLabels": ["FORGERY"], "reviewRejectType": "FINAL", "moderationComment": null }
        });
        let read = read(&event).unwrap();
        assert_eq!(
            (read.kind.as_str(), read.answer.as_deref()),
            ("applicantReviewed", Some("RED"))
        );
        assert_eq!(
            (read.reject_type.as_deref(), read.reject_labels),
            (Some("FINAL"), vec!["FORGERY".to_owned()])
        );
        assert_eq!(read.at, Some("2026-02-23T10:00:00Z".parse().unwrap()));
    }

    #[test]
    fn null_is_absent_and_an_absent_sandbox_mode_is_false() {
        let event = json!({
            "type": null, "applicantId": null, "externalUserId": "", "levelName": null, "sandboxMode": null,
            "reviewStatus": null, "createdAt": null, "createdAtMs": null, "reviewResult": null
        });
        assert_eq!(read(&event), Ok(Event::default()));
        assert_eq!(
            read(&json!({ "reviewResult": { "reviewAnswer": null, "rejectLabels": null } })),
            Ok(Event::default())
        );
    }

    #[test]
    fn a_time_is_read_in_every_form() {
        let at = Some("2026-02-23T10:00:00.5Z".parse().unwrap());
        for form in [
            json!("2026-02-23T10:00:00.5Z"),
            json!("2026-02-23 10:00:00.500"),
            json!(1_771_840_800_500_i64),
            json!("1771840800500"),
        ] {
            assert_eq!(read(&json!({ "createdAtMs": form })).unwrap().at, at, "{form}");
        }
        let older = read(&json!({ "createdAt": "2026-02-23 10:00:00+0000" })).unwrap();
        assert_eq!(older.at, Some("2026-02-23T10:00:00Z".parse().unwrap()));
        for none in [
            json!("yesterday"),
            json!("-9999-01-01 00:00:00.000"),
            json!(-300_000_000_000_000_i64),
            json!("1969-12-31T23:59:59Z"),
        ] {
            assert_eq!(read(&json!({ "createdAtMs": none })).unwrap().at, None, "{none}");
        }
    }

    #[test]
    fn other_types_are_read_as_what_they_can_only_mean() {
        let event = json!({ "sandboxMode": "true", "applicantId": 17, "reviewResult": { "rejectLabels": "FORGERY" } });
        let read = read(&event).unwrap();
        assert!(read.sandbox);
        assert_eq!(
            (read.applicant_id.as_deref(), read.reject_labels),
            (Some("17"), vec!["FORGERY".to_owned()])
        );
    }

    #[test]
    fn a_comment_is_kept_without_what_no_screen_should_be_sent_and_one_that_is_no_text_is_left_out() {
        let said = |comment: Value| {
            let event = json!({ "reviewResult": { "moderationComment": comment, "clientComment": "not for them" } });
            read(&event).unwrap().comment
        };
        assert_eq!(
            said(json!(" The photo\u{0}\u{1b}[2J\nis blurry. ")).as_deref(),
            Some("The photo[2J\nis blurry.")
        );
        assert_eq!(said(json!("é".repeat(2_000))), Some("é".repeat(LONGEST_COMMENT)));
        for nothing in [json!(null), json!(""), json!(" \t"), json!(17), json!(["The photo"])] {
            assert_eq!(said(nothing), None);
        }
    }

    #[test]
    fn a_member_that_means_nothing_makes_the_event_unreadable() {
        for (event, member) in [
            (json!({ "reviewResult": "GREEN" }), "reviewResult"),
            (json!({ "sandboxMode": 0 }), "sandboxMode"),
            (json!({ "type": ["applicantReviewed"] }), "type"),
            (json!({ "reviewResult": { "reviewAnswer": true } }), "reviewAnswer"),
        ] {
            assert_eq!(read(&event), Err(Unreadable(member)));
        }
        assert_eq!(Event::read(b"[]"), Err(Unreadable("the whole")));
    }
}
