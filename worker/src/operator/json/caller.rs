//! Who asks: whoever has a token, or comes through the proxy that signed them in. There is no other way into an operation, so
//! none can forget to ask.

use std::sync::Arc;

use drop_common::{config::OperatorRole, metrics::OPERATOR_ACTIONS};
use poem::{
    Request, RequestBody,
    http::{Method, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaSecurityScheme, Registry},
};

use super::{Changed, Shown, problem::Refused};
use crate::{
    context::Context,
    gauges::Readings,
    operator::{
        actions::{self, By},
        page::{form, session},
        token::{self, Nobodys},
    },
};

/// The scheme's name in the document.
const TOKEN: &str = "Token";

/// Somebody who asks: a [`Viewer`], or an [`Operator`].
pub(super) struct Caller<const MAY_CHANGE: bool> {
    pub(super) context: Arc<Context>,
    name: String,
    pub(super) role: OperatorRole,
    /// What the database said of itself lately.
    pub(super) readings: Arc<Readings>,
}

/// Somebody who may look.
pub(super) type Viewer = Caller<false>;

/// Somebody who may change something.
pub(super) type Operator = Caller<true>;

impl Operator {
    /// Them, and why they do it.
    pub(super) fn because(&self, reason: &str) -> Result<By, Refused> {
        let reason = actions::reason(reason).map_err(Refused::unusable)?;
        Ok(By {
            reason,
            operator: self.name.clone(),
        })
    }

    /// Counts what was done, and says it.
    pub(super) fn done(&self, action: &'static str, changed: usize) -> Shown<Changed> {
        self.context.metrics.count(&OPERATOR_ACTIONS, &[action]);
        tracing::info!(operator = self.name, action, changed, "an operator did {action}");
        Shown(Changed {
            action: action.to_owned(),
            changed: u64::try_from(changed).unwrap_or(u64::MAX),
        })
    }
}

/// The context, and who asks with which rights.
async fn identify(request: &Request) -> Result<(Arc<Context>, String, OperatorRole), Refused> {
    let context: &Arc<Context> = request.data().expect("the routes have their data");
    let operators = &context.settings.operators;
    let (name, role) = if let Some(signed_in) = session::by_proxy(request, operators) {
        (signed_in.name, signed_in.role)
    } else {
        let token = bearer(request).ok_or_else(Refused::unauthenticated)?;
        let holder = token::holder(token, request, context).await?;
        (holder.name.clone(), holder.role)
    };
    Ok((Arc::clone(context), name, role))
}

impl From<Nobodys> for Refused {
    fn from(nobodys: Nobodys) -> Self {
        match nobodys {
            Nobodys::Wrong => Self::unauthenticated(),
            Nobodys::TooMany(seconds) => Self::too_many(seconds),
            Nobodys::Failed(error) => error.into(),
        }
    }
}

/// The token of the one `Authorization` header.
fn bearer(request: &Request) -> Option<&str> {
    let mut values = request.headers().get_all(header::AUTHORIZATION).iter();
    let (value, more) = (values.next()?, values.next());
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let is_one = more.is_none() && scheme.eq_ignore_ascii_case("bearer");
    is_one.then_some(token.trim())
}

// By hand: the framework's derive takes a token and nothing else.
impl<'a, const MAY_CHANGE: bool> ApiExtractor<'a> for Caller<MAY_CHANGE> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        let scheme = MetaSecurityScheme {
            ty: "http",
            description: Some("A token of an operator or a viewer. The proxy that signs people in needs none."),
            name: None,
            key_in: None,
            scheme: Some("bearer"),
            bearer_format: None,
            flows: None,
            openid_connect_url: None,
        };
        registry.create_security_scheme(TOKEN, scheme);
    }

    fn security_schemes() -> Vec<&'static str> {
        vec![TOKEN]
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let (context, name, role) = identify(request).await?;
        if MAY_CHANGE {
            may_change(request, role)?;
        }
        let readings = request.data::<Arc<Readings>>().expect("the routes have their data");
        Ok(Self {
            context,
            name,
            role,
            readings: Arc::clone(readings),
        })
    }
}

fn may_change(request: &Request, role: OperatorRole) -> Result<(), Refused> {
    if role != OperatorRole::Operator {
        return Err(Refused::forbidden("You may look, and change nothing."));
    }
    // What a proxy knows people by, their browsers send along with what foreign pages ask for.
    if request.method() != Method::GET && !form::is_from_here(request) {
        return Err(Refused::forbidden("This was sent from another page."));
    }
    Ok(())
}
