/** @file Keeps two runs out of one folder: an address that only one process can listen at. */

import { createHash } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { mkdir, unlink } from 'node:fs/promises';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UserError } from '../tensor/user-error.ts';
import { fileError } from '../weights/file-error.ts';

/** Linux and Windows forget these addresses with the process; elsewhere they are files. */
function addressOf(folder: string): { readonly address: string; readonly isFile: boolean } {
  const digest = createHash('sha256').update(realpathSync(folder)).digest('hex');
  const name = `sdl-train-${digest.slice(0, 32)}`;
  if (process.platform === 'win32') return { address: `\\\\.\\pipe\\${name}`, isFile: false };
  if (process.platform === 'linux') return { address: `\0${name}`, isFile: false };
  return { address: join(tmpdir(), `${name}.sock`), isFile: true };
}

/** The server, or the code of the error. */
function listen(address: string): Promise<Server | string> {
  return new Promise((done) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', (error: NodeJS.ErrnoException) => done(error.code ?? error.message));
    server.listen(address, () => done(server));
    // The program ends without waiting for it.
    server.unref();
  });
}

/** Whether a process listens there; a file may have outlived it. */
function answers(address: string): Promise<boolean> {
  return new Promise((done) => {
    const socket = connect(address, () => {
      socket.destroy();
      done(true);
    });
    socket.once('error', () => done(false));
  });
}

/**
 * Reserves a run's folder for this process, and makes it. The reservation ends with the process,
 * however that ends. It is seen on this machine alone; a system that has no such addresses does without.
 * @returns gives the folder free
 * @throws UserError where another process has it, or it cannot be made
 */
export async function lockRun(folder: string): Promise<() => Promise<void>> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw fileError(error, 'write', folder);
  }
  const { address, isFile } = addressOf(folder);
  let server = await listen(address);
  if (server === 'EADDRINUSE' && isFile && !(await answers(address))) {
    await unlink(address).catch(() => {});
    server = await listen(address);
  }
  if (server === 'EADDRINUSE') {
    throw new UserError(
      `${folder}: another run is writing there; wait until it ends or stop it, or choose another output.name`,
    );
  }
  if (typeof server === 'string') return async () => {};
  const held = server;
  return () => new Promise((done) => held.close(() => done()));
}
