export default function Page(_props: { id: string }) {
  return null;
}
