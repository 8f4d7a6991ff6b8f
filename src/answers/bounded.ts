/** Synchronous work that has to end. */
import { createContext, Script } from 'node:vm';

const sandbox: { work?: () => unknown } = createContext({});
const script = new Script('work()');

/** What `work` returns; undefined where it took longer than `timeout` milliseconds and was ended. */
export function bounded<T>(timeout: number, work: () => T): T | undefined {
  sandbox.work = work;
  try {
    return script.runInContext(sandbox, { timeout }) as T;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_SCRIPT_EXECUTION_TIMEOUT') return undefined;
    throw error;
  } finally {
    delete sandbox.work;
  }
}
