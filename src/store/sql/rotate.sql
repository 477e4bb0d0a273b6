-- `decide` and `apply`, for one row `cur` that carries `ended`, `now`, `presented` and the policy.
-- A comparison with NULL is no match, as in `decide` one with `None`.
judged AS MATERIALIZED (
  SELECT cur.*, CASE
    WHEN ended = 1                    THEN 'revoked'
    WHEN now >= expires_at            THEN 'expired'
    WHEN now >= used_at + idle_ms     THEN 'idle'
    WHEN presented = gen AND grace > 0
     AND now BETWEEN rotated_at - grace AND rotated_at + grace
                                      THEN 'fresh'
    WHEN presented = gen              THEN 'rotated'
    WHEN presented > gen              THEN 'ahead'
    WHEN presented = parent_gen AND grace > 0
     AND now BETWEEN rotated_at - grace AND rotated_at + grace
                                      THEN 'retried'
    WHEN presented = parent_gen AND late > 0
     AND now BETWEEN rotated_at - late AND rotated_at + late
     AND (confirmed_gen IS NULL OR confirmed_gen < gen) AND reissues < max_reissues
                                      THEN 'reissued'
    WHEN presented = parent_gen       THEN 'late_parent'
    WHEN presented > parent_gen       THEN 'displaced_child'
    ELSE                                   'stale_lineage'
  END AS outcome
  FROM cur
), next AS MATERIALIZED (
  SELECT sid, sub, kind, ep, confirmed_gen, idle_ms, expires_at, created_at, details, now, outcome,
    CASE WHEN outcome IN ('rotated', 'ahead') THEN presented + 1
         WHEN outcome = 'reissued' THEN gen + 1
         ELSE gen END AS gen,
    CASE WHEN outcome IN ('rotated', 'ahead') THEN presented ELSE parent_gen END AS parent_gen,
    CASE WHEN outcome IN ('rotated', 'ahead', 'reissued') THEN now ELSE rotated_at END AS rotated_at,
    CASE WHEN outcome IN ('rotated', 'ahead', 'reissued') THEN now ELSE used_at END AS used_at,
    CASE WHEN outcome = 'reissued' THEN reissues + 1 ELSE reissues END AS reissues,
    CASE WHEN outcome IN ('late_parent', 'displaced_child', 'stale_lineage') THEN now
         ELSE revoked_at END AS revoked_at,
    CASE WHEN outcome IN ('late_parent', 'displaced_child', 'stale_lineage') THEN 2
         ELSE revoke_reason END AS revoke_reason,
    CASE WHEN outcome IN ('late_parent', 'displaced_child', 'stale_lineage') THEN 1
         ELSE ended END AS ended
  FROM judged
)
