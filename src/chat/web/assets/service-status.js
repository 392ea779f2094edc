// How the service stands: asked until it is ready, at growing intervals.

const INTERVAL_FIRST_MS = 500;
const INTERVAL_MAX_MS = 10_000;
const INTERVAL_GROWTH = 1.6;

/**
 * Calls `tell(state, status)` with `unreachable`, `loading` or `ready` until the service is ready. The returned
 * function starts over, for when there is reason to doubt that it still is.
 */
export function watchService(tell) {
  let timer;
  let round = 0;

  async function look(thisRound, interval) {
    const [state, status] = await serviceState();
    if (thisRound !== round) return;
    tell(state, status);
    if (state === 'ready') return;
    timer = setTimeout(() => look(thisRound, Math.min(interval * INTERVAL_GROWTH, INTERVAL_MAX_MS)), interval);
  }

  function watch() {
    clearTimeout(timer);
    round += 1;
    look(round, INTERVAL_FIRST_MS);
  }

  watch();
  return watch;
}

async function serviceState() {
  try {
    const response = await fetch('/api/status', { signal: AbortSignal.timeout(INTERVAL_MAX_MS) });
    if (!response.ok) return ['unreachable', undefined];
    const status = await response.json();
    return [status.ready ? 'ready' : 'loading', status];
  } catch {
    return ['unreachable', undefined];
  }
}
