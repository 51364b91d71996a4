use super::reader::Reader;

/// Reading accounts.
#[derive(Debug, Clone, Copy, Default)]
pub struct AispConfig {
    /// `AISP_CIRCUIT_PER_BANK`, default false (contract: one circuit): each bank has a circuit of its own, so that one that is
    /// unwell keeps no other bank's accounts from being read. The same for API and workers.
    pub circuit_per_bank: bool,
}

impl AispConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            circuit_per_bank: reader.flag("AISP_CIRCUIT_PER_BANK", false),
        }
    }
}
