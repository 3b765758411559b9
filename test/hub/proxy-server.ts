/** @file A proxy on this machine: passes questions on, tunnels, and refuses as asked. */

import { request as ask, createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { onTestFinished } from 'vitest';

export interface ProxyServer {
  /** Host and port. */
  readonly host: string;
  /** `METHOD address` of what was asked, in order. */
  readonly asked: string[];
  stop(): Promise<void>;
}

export interface ProxyRules {
  /** Base64 of `user:password`, without which the answer is 407. */
  readonly password?: string;
  /** Answers each tunnel with this instead of opening it. */
  readonly tunnelStatus?: number;
}

/** Starts it; it stops with the test. */
export async function startProxy({
  password,
  tunnelStatus,
}: ProxyRules = {}): Promise<ProxyServer> {
  const asked: string[] = [];
  const isRefused = (authorization: string | undefined) =>
    password !== undefined && authorization !== `Basic ${password}`;
  const server = createServer(({ method, url, headers }, response) => {
    asked.push(`${method} ${url}`);
    if (isRefused(headers['proxy-authorization'])) {
      response.writeHead(407).end();
      return;
    }
    const { 'proxy-authorization': _own, ...rest } = headers;
    const { hostname, port, pathname, search } = new URL(url!);
    const options = { host: hostname, port, path: pathname + search, method, headers: rest };
    const forwarded = ask(options, (answer) => {
      response.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    forwarded.on('error', () => response.destroy());
    forwarded.end();
  });
  server.on('connect', ({ url, headers }, socket) => {
    asked.push(`CONNECT ${url}`);
    socket.on('error', () => {});
    const status = isRefused(headers['proxy-authorization']) ? 407 : tunnelStatus;
    if (status !== undefined) {
      socket.end(`HTTP/1.1 ${status} Refused\r\n\r\n`);
      return;
    }
    const [host, port] = url!.split(':');
    const target = connect(Number(port), host, () => {
      socket.write('HTTP/1.1 200 Connected\r\n\r\n');
      target.pipe(socket).pipe(target);
    });
    target.on('error', () => socket.destroy());
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const stop = () =>
    new Promise<void>((done) => {
      server.close(() => done());
      server.closeAllConnections();
    });
  onTestFinished(stop);
  return { host: `127.0.0.1:${(server.address() as AddressInfo).port}`, asked, stop };
}
