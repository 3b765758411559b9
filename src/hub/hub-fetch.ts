/** @file How the hub is asked: directly, or through the proxy that the environment names. */

import type { ProxySettings } from './hub-settings.ts';

/** Asks; `close` ends connections that are kept open for more questions. */
export interface HubConnection {
  readonly fetch: typeof fetch;
  close(): Promise<void>;
}

/** Node's own `fetch` has no proxies before 24, so that undici's stands in for it where there is one. */
export async function connectHub(proxy: ProxySettings | null): Promise<HubConnection> {
  if (proxy === null) return { fetch, close: async () => {} };
  const { EnvHttpProxyAgent, fetch: ask } = await import('undici');
  const dispatcher = new EnvHttpProxyAgent({
    httpProxy: proxy.http ?? '',
    httpsProxy: proxy.https ?? '',
    noProxy: proxy.except ?? '',
    // Plain http goes to the proxy as a question, since many refuse tunnels to its port.
    proxyTunnel: false,
  });
  const through = (input: string, init: object = {}) => ask(input, { ...init, dispatcher });
  return { fetch: through as unknown as typeof fetch, close: () => dispatcher.close() };
}
