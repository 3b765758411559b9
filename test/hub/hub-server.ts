/** @file A server on this machine that speaks as much of the hub's API as a download needs, and fails as asked. */

import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** What goes wrong; each number is of times. */
export interface Faults {
  /** Cut the connection after so many bytes of a large file, so many times. */
  cuts?: number;
  cutAfter?: number;
  /** The same, counted from the start of the file. */
  cutAt?: number;
  /** Leave the connection open instead of cutting it. */
  stalls?: boolean;
  /** Send another byte than announced. */
  wrongBytes?: number;
  /** Answer to a range with the whole file. */
  noRanges?: boolean;
  /** Answer the API with this. */
  answer?: string;
  /** Answer the API with 503. */
  unavailable?: number;
  /** A token without which everything is refused with 401. */
  token?: string;
  /** Refuse with 403, as for a model whose terms were not accepted. */
  isGated?: boolean;
}

export interface HubServer {
  readonly endpoint: string;
  /** `METHOD path range` of all questions, in order. */
  readonly asked: string[];
  /** Authorization headers that came to the second server, which large files lie on. */
  readonly tokensAtStore: (string | undefined)[];
  readonly faults: Faults;
  stop(): Promise<void>;
}

export const commit = '0123456789abcdef0123456789abcdef01234567';
const repo = 'someone/model';
/** Files of this size and more lie on another server, as those in Git LFS do. */
const largeFrom = 1000;

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
const gitSha1 = (bytes: Buffer) =>
  createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');

const listen = (server: Server) =>
  new Promise<string>((done) => {
    server.listen(0, '127.0.0.1', () =>
      done(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
    );
  });
const close = (server: Server) =>
  new Promise<void>((done) => {
    server.close(() => done());
    server.closeAllConnections();
  });

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'X-Error-Code': code, 'Content-Type': 'application/json' });
  response.end(JSON.stringify({ error: `${code}\nwith a second line` }));
}

function sendFile(request: IncomingMessage, response: ServerResponse, bytes: Buffer, faults: Faults): void {
  const start = faults.noRanges ? 0 : Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
  const part = Buffer.from(bytes.subarray(start));
  if ((faults.wrongBytes ?? 0) > 0 && start + part.length === bytes.length) {
    faults.wrongBytes!--;
    part[part.length - 1]! ^= 1;
  }
  const headers = { 'Content-Length': part.length, 'Content-Range': `bytes ${start}-${bytes.length - 1}/${bytes.length}` };
  response.writeHead(start > 0 ? 206 : 200, headers);
  if ((faults.cuts ?? 0) > 0 && bytes.length >= largeFrom) {
    faults.cuts!--;
    response.write(part.subarray(0, faults.cutAt === undefined ? faults.cutAfter : Math.max(faults.cutAt - start, 0)), () => setTimeout(() => faults.stalls || response.destroy(), 20));
    return;
  }
  response.end(part);
} // biome-ignore format: one line a step

/** Starts it with the files of `someone/model`; it stops with the test. */
export async function startHub(files: Readonly<Record<string, Buffer>>, faults: Faults = {}): Promise<HubServer> {
  const asked: string[] = [];
  const tokensAtStore: (string | undefined)[] = [];
  const store = createServer((request, response) => {
    asked.push(`store ${request.url} ${request.headers.range ?? ''}`.trim());
    tokensAtStore.push(request.headers.authorization);
    sendFile(request, response, files[decodeURIComponent(request.url!.slice(1))]!, faults);
  });
  const storeAddress = await listen(store);
  const entry = (path: string) => {
    const bytes = files[path]!;
    const lfs = bytes.length < largeFrom ? {} : { lfs: { oid: sha256(bytes), size: bytes.length, pointerSize: 130 } };
    return { type: 'file', path, size: bytes.length, oid: gitSha1(bytes), ...lfs };
  };
  const hub = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url!, 'http://hub');
    asked.push(`${pathname} ${request.headers.range ?? ''}`.trim());
    if (faults.token && request.headers.authorization !== `Bearer ${faults.token}`) return refuse(response, 401, 'RepoNotFound');
    if (faults.isGated) return refuse(response, 403, 'GatedRepo');
    const isApi = pathname.startsWith('/api/');
    if (isApi && faults.answer !== undefined) {
      response.end(faults.answer);
      return;
    }
    if (isApi && (faults.unavailable ?? 0) > 0) {
      faults.unavailable!--;
      return refuse(response, 503, 'Busy');
    }
    if (!pathname.startsWith(`${isApi ? '/api/models' : ''}/${repo}/`)) return refuse(response, 404, 'RepoNotFound');
    const [kind, revision, ...rest] = pathname.split(`${repo}/`)[1]!.split('/').map(decodeURIComponent);
    if (![commit, 'main', 'v1'].includes(revision!)) return refuse(response, 404, 'RevisionNotFound');
    const json = (value: unknown, headers = {}) => {
      response.writeHead(200, { 'Content-Type': 'application/json', ...headers });
      response.end(JSON.stringify(value));
    };
    if (kind === 'revision') return json({ _id: '1', id: repo, sha: commit, lastModified: '2026-01-01T00:00:00Z' });
    const paths = Object.keys(files);
    if (kind === 'tree') {
      // In pages, as the hub does for large repositories.
      const from = Number(searchParams.get('cursor') ?? 0);
      const next = `<http://${request.headers.host}${pathname}?recursive=true&cursor=${from + 3}>; rel="next"`;
      const page = [...paths.slice(from, from + 3).map(entry), { type: 'directory', path: 'unet', size: 0, oid: '0'.repeat(40) }];
      return json(page, from + 3 < paths.length ? { Link: next } : {});
    }
    const path = rest.join('/');
    if (!(path in files)) return refuse(response, 404, 'EntryNotFound');
    if (files[path]!.length < largeFrom) return sendFile(request, response, files[path]!, faults);
    response.writeHead(302, { Location: `${storeAddress}/${encodeURIComponent(path)}` });
    response.end();
  });
  const endpoint = await listen(hub);
  const stop = async () => {
    await close(hub);
    await close(store);
  };
  onTestFinished(stop);
  return { endpoint, asked, tokensAtStore, faults, stop };
} // biome-ignore format: one line a step
