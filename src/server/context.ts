/** What every route works with. */
import type { ServeSettings } from '../config/settings.js';
import type { Service } from './service.js';

export interface Context {
  service: Service;
  settings: ServeSettings;
}
