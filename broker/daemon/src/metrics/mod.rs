//! The daemon's figures in OpenMetrics, and the socket they are scraped from.
//!
//! Source: OpenMetrics 1.0; of HTTP what a scraper needs (RFC 1945).

mod connection;
mod endpoint;
mod request;
mod response;
mod text;

pub(crate) use endpoint::MetricsEndpoint;
pub(crate) use text::encode;

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::status;
