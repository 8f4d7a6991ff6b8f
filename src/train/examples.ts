export interface Example {
  question: string;
  answer: string;
  system?: string | undefined;
  response?: string | undefined;
}
