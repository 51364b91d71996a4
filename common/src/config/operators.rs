use secrecy::{ExposeSecret, SecretString};

use super::{api, network::Network, reader::Reader};

/// Who may see the operators' page, and who may change something there.
#[derive(Debug, Clone, Default)]
pub struct OperatorsConfig {
    /// `DROP_OPERATOR_TOKENS`, default none: who signs in with a token, comma-separated, as `name:role:` and the SHA-256 of
    /// the token in hex. The role is `viewer` or `operator`.
    pub tokens: Vec<OperatorToken>,
    /// `DROP_OPERATOR_PROXIES`, default none: networks and addresses of the proxy that signs people in. From there, and from
    /// nowhere else, `X-Forwarded-User` and `X-Forwarded-Groups` are believed.
    pub proxies: Vec<Network>,
    /// `DROP_OPERATOR_GROUP`, default `drop-operators`: the proxy's group whose members may change something.
    pub operator_group: String,
    /// `DROP_VIEWER_GROUP`, default `drop-viewers`: the proxy's group whose members may look.
    pub viewer_group: String,
    /// `DROP_GRAFANA_URL`, default none: where the dashboards are.
    pub grafana_url: Option<String>,
}

/// What somebody may do on the operators' page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperatorRole {
    /// Look.
    Viewer,
    /// Look, and change something.
    Operator,
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub struct OperatorToken {
    /// Who: it goes into the audit log.
    pub name: String,
    /// What they may do.
    pub role: OperatorRole,
    /// SHA-256 of the token, which is long and random: a hash that is slow would protect no better.
    pub hash: [u8; 32],
}

impl OperatorsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            tokens: tokens(reader),
            proxies: api::networks(reader, "DROP_OPERATOR_PROXIES"),
            operator_group: reader.text_or("DROP_OPERATOR_GROUP", "drop-operators"),
            viewer_group: reader.text_or("DROP_VIEWER_GROUP", "drop-viewers"),
            grafana_url: grafana(reader),
        }
    }

    /// Whether there is anybody who may see the page.
    pub fn has_anybody(&self) -> bool {
        !self.tokens.is_empty() || !self.proxies.is_empty()
    }
}

fn tokens(reader: &mut Reader<'_>) -> Vec<OperatorToken> {
    const NAME: &str = "DROP_OPERATOR_TOKENS";
    let Some(listed) = reader.secret_if_any(NAME) else {
        return Vec::new();
    };
    let entries = entries(&listed);
    let Some(tokens) = entries else {
        reader.problem(NAME, "must be name:viewer or operator:SHA-256 in hex, comma-separated");
        return Vec::new();
    };
    let distinct = |of: fn(&OperatorToken) -> &[u8]| {
        let mut seen: Vec<_> = tokens.iter().map(of).collect();
        seen.sort_unstable();
        seen.dedup();
        seen.len() == tokens.len()
    };
    if !distinct(|token| token.name.as_bytes()) || !distinct(|token| &token.hash) {
        reader.problem(NAME, "names somebody twice, or two people have one token");
    }
    tokens
}

fn entries(listed: &SecretString) -> Option<Vec<OperatorToken>> {
    let entries = listed.expose_secret().split([',', '\n']).map(str::trim);
    entries.filter(|entry| !entry.is_empty()).map(entry).collect()
}

fn entry(entry: &str) -> Option<OperatorToken> {
    let mut parts = entry.split(':');
    let (name, role, hash) = (parts.next()?, parts.next()?, parts.next()?);
    let role = match role {
        "viewer" => OperatorRole::Viewer,
        "operator" => OperatorRole::Operator,
        _ => return None,
    };
    let is_whole = parts.next().is_none() && is_operator_name(name);
    let hash = sha256_of_hex(hash)?;
    is_whole.then(|| OperatorToken {
        name: name.to_owned(),
        role,
        hash,
    })
}

/// A name that the audit log and a cookie can hold as it is: letters, digits, and `.`, `_`, `-`, `@` between them.
pub fn is_operator_name(name: &str) -> bool {
    let fits = |letter: u8| letter.is_ascii_alphanumeric() || b"._-@".contains(&letter);
    (1..=64).contains(&name.len()) && name.bytes().all(fits)
}

fn sha256_of_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = hex
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}

fn grafana(reader: &mut Reader<'_>) -> Option<String> {
    const NAME: &str = "DROP_GRAFANA_URL";
    let local = reader.profile.is_local();
    reader.text(NAME).filter(|text| !text.is_empty())?;
    Some(reader.url(NAME, None, local))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::config::Environment;

    const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"; // of "test"

    fn read(tokens: &str) -> Result<Vec<OperatorToken>, String> {
        let environment = Environment::default()
            .with("DROP_OPERATOR_TOKENS", tokens)
            .with("DROP_PROFILE", "local");
        let mut reader = Reader::new(&environment);
        let tokens = super::tokens(&mut reader);
        reader.finish(tokens).map_err(|error| error.to_string())
    }

    #[test]
    fn somebody_is_a_name_a_role_and_the_hash_of_a_token() {
        let other = HASH.replace('9', "8");
        let read = read(&format!("kari:operator:{HASH}, ola@drop.no:viewer:{other}")).unwrap();
        assert_eq!((read[0].name.as_str(), read[0].role), ("kari", OperatorRole::Operator));
        assert_eq!(read[0].hash, crate::keyring::sha256(b"test"));
        assert_eq!(read[1].role, OperatorRole::Viewer);
    }

    #[test]
    fn nobody_is_listed_by_default() {
        assert!(read("").unwrap().is_empty());
    }

    #[rstest]
    #[case::no_role(format!("kari:{HASH}"))]
    #[case::unknown_role(format!("kari:admin:{HASH}"))]
    #[case::no_hash("kari:operator:secret".to_owned())]
    #[case::a_token_in_place_of_its_hash(format!("kari:operator:{}", &HASH[..62]))]
    #[case::more(format!("kari:operator:{HASH}:x"))]
    #[case::a_name_with_a_space(format!("kari nordmann:operator:{HASH}"))]
    #[case::twice(format!("kari:operator:{HASH},kari:viewer:{HASH}"))]
    #[case::one_token_for_two(format!("kari:operator:{HASH},ola:viewer:{HASH}"))]
    fn any_other_list_is_refused_without_showing_it(#[case] tokens: String) {
        let refused = read(&tokens).unwrap_err();
        assert!(
            refused.contains("DROP_OPERATOR_TOKENS") && !refused.contains(&HASH[..10]),
            "{refused}"
        );
    }
}
