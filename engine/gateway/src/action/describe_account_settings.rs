//! `DescribeAccountSettings`.

use weir_reactor::Reactor;

use super::account;
use crate::call::Call;

/// Answers whether the account is committed to a minimum throughput.
pub(crate) fn answer<R: Reactor>(call: &Call<'_, R>) -> Vec<u8> {
    account::answer(call, call.engine.account_settings())
}
