/** Requests, of which some ask to go on in another protocol. */
import { IncomingMessage } from 'node:http';

/**
 * Once anything listens for upgrades, Node takes every request that asks for one out of HTTP. This one stays a request
 * unless it asks for a WebSocket: others, such as to HTTP/2, a server may ignore (RFC 9110, 7.8).
 */
export class Incoming extends IncomingMessage {
  /** What the parser says; no initializer, since the base class sets `upgrade` already. */
  declare asked: boolean | null;

  set upgrade(asked: boolean | null) {
    this.asked = asked;
  }

  get upgrade(): boolean {
    if (!this.asked) return false;
    if (this.method === 'CONNECT') return true;
    return this.method === 'GET' && this.headers.upgrade?.toLowerCase() === 'websocket';
  }
}
