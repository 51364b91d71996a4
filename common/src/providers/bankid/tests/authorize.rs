use secrecy::SecretString;

use super::{ISSUER, config};
use crate::providers::bankid::{AuthorizationRequest, authorization_url, code_challenge};

#[test]
fn a_person_is_sent_to_bankid_with_pkce_and_never_to_plain() {
    let (state, nonce) = (SecretString::from("st&te"), SecretString::from("the-nonce"));
    // RFC 7636 appendix B.
    let challenge = code_challenge(&"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into());
    assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    let request = AuthorizationRequest {
        state: &state,
        nonce: &nonce,
        code_challenge: &challenge,
        ui_locales: None,
    };
    let url = authorization_url(&config("http://127.0.0.1:1"), &request).expect("a URL");
    assert_eq!(
        url,
        format!(
            "{ISSUER}/protocol/openid-connect/auth?client_id=drop\
             &redirect_uri=https%3A%2F%2Fgetdrop.no%2Fapi%2Fauth%2Fbankid%2Fcallback&response_type=code\
             &scope=openid+profile&state=st%26te&nonce=the-nonce&code_challenge={challenge}\
             &code_challenge_method=S256&acr_values=urn%3Abankid%3Abid"
        )
    );
}
